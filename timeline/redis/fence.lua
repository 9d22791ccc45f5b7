-- Raises the fence of one session: what was let in before and is still under way comes too late.
--
-- Only its owner may do so, who knows fence and token as they are. Where these are others, another
-- server has taken the session over, and what was under way comes too late already. Asking again
-- because an answer was lost does it once.
--
-- KEYS  1 row
-- ARGV  1 fence and token that are known, 2 a new token
-- Answer: the new fence, or 0 where there is another one or no session

local found = redis.call('HMGET', KEYS[1], 'epoch', 'fence', 'token')
if not found[1] then
  return 0
end
local fence, token = found[2] or '0', found[3] or ''
if token == ARGV[2] then
  return tonumber(fence)
end
if fence .. ' ' .. token ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'token', ARGV[2])
return redis.call('HINCRBY', KEYS[1], 'fence', 1)

-- Makes a server the owner of one session, unless another is.
--
-- The fence is raised and a new token is noted whenever the owner changes: what a former owner has
-- still under way comes too late. Whoever says that an owner has gone must have looked at its lease,
-- which lies elsewhere; if it comes back, it finds the fence raised. Asking again because an answer
-- was lost does it once. Whoever holds the session already says with what: where others have
-- changed that, they have had it meanwhile, and nothing is claimed.
--
-- KEYS  1 row
-- ARGV  1 who asks, 2 an owner that has gone or '', 3 1 where the fence is to be raised also if the
--       session is its own already, because it may be giving it up at the moment, 4 a new token,
--       5 fence and token that it holds the session with, '' where it doesn't
-- Answer: {} without a session; {0, owner or '', token} where others have had it since; else
--       {owner, fence, token}, and where that is new, the token that it replaced

local found = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'fence', 'token')
if not found[1] then
  return {}
end
local owner, fence, token = found[2] or '', found[3] or '0', found[4] or ''
if ARGV[5] ~= '' and ARGV[5] ~= fence .. ' ' .. token then
  local drawn_by = string.match(token, '^(.*) ') or ARGV[1]
  if owner ~= ARGV[1] or drawn_by ~= ARGV[1] then
    return {0, owner, token}
  end
end
local is_its = owner == ARGV[1] and ARGV[3] ~= '1'
local is_anothers = owner ~= '' and owner ~= ARGV[1] and owner ~= ARGV[2]
if is_its or is_anothers then
  return {owner, tonumber(fence), token}
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'token', ARGV[4])
return {ARGV[1], redis.call('HINCRBY', KEYS[1], 'fence', 1), ARGV[4], token}

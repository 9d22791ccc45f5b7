-- Makes a server the owner of one session, unless another is.
--
-- The fence is raised whenever the owner changes: what a former owner has still under way comes too
-- late. Whoever says that an owner has gone must have looked at its lease, which lies elsewhere; if
-- it comes back, it finds the fence raised. Asking again because an answer was lost does it once.
--
-- KEYS  1 row
-- ARGV  1 who asks, 2 an owner that has gone or '', 3 1 where the fence is to be raised also if the
--       session is its own already, because it may be giving it up at the moment
-- Answer: {} without a session, else {owner, fence}

local found = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'fence')
if not found[1] then
  return {}
end
local owner, fence = found[2] or '', found[3] or '0'
if owner == ARGV[1] and ARGV[3] ~= '1' then
  return {owner, tonumber(fence)}
end
if owner ~= '' and owner ~= ARGV[1] and owner ~= ARGV[2] then
  return {owner, tonumber(fence)}
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1])
return {ARGV[1], redis.call('HINCRBY', KEYS[1], 'fence', 1)}

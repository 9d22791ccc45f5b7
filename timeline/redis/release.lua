-- Leaves one session to whoever wants it, if it is still owned as it was.
--
-- KEYS  1 row
-- ARGV  1 who owned it, 2 with which fence and token
-- Answer: 1 if it did

local found = redis.call('HMGET', KEYS[1], 'owner', 'fence', 'token')
if found[1] ~= ARGV[1] or (found[2] or '0') .. ' ' .. (found[3] or '') ~= ARGV[2] then
  return 0
end
return redis.call('HDEL', KEYS[1], 'owner')

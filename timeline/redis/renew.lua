-- Gives one session a new epoch, because events that were acknowledged may be lost.
--
-- It is done once for each loss: whoever comes second finds another epoch than it has read. The
-- fence is raised, too, with a new token, because a writer may be alive that counts on what is lost.
--
-- KEYS  1 row
-- ARGV  1 epoch that was read, 2 last seq that was read, 3 new epoch, 4 checksum of the row with
--       it, 5 history that is written from now on, 6 a new token
-- Answer: its fence if the epoch is the new one, else 0: read the row again

local found = redis.call('HMGET', KEYS[1], 'epoch', 'last', 'fence')
if found[1] == ARGV[3] then
  return tonumber(found[3])
end
if found[1] ~= ARGV[1] or found[2] ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'changed', '1', 'crc', ARGV[4], 'history', ARGV[5],
  'token', ARGV[6])
return redis.call('HINCRBY', KEYS[1], 'fence', 1)

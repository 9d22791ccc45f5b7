-- Lets go of the events of one session that have been put into a file, and names the file.
--
-- The file has all up to the last one, so the stream goes as a whole. Nothing is done if anything
-- is other than it was when the events were read for it: something was appended, another server
-- has claimed the session, it has another epoch, or its events were moved by others. The last event
-- is compared byte for byte besides: after a failover the others may look the same, and the file
-- must have what is there now. Asking again because an answer was lost does it once.
--
-- KEYS  1 row, 2 events (one slot)
-- ARGV  1 epoch, 2 last seq, 3 fence and token, 4 the file that was named or '', 5 the new one, 6 the
--       last event
-- Answer: 1 if the new file is the one that is named, else 0

local found = redis.call('HMGET', KEYS[1], 'epoch', 'last', 'fence', 'token', 'cold')
local cold = found[5] or ''
if found[1] and cold == ARGV[5] then
  return 1
end
local grant = (found[3] or '0') .. ' ' .. (found[4] or '')
if found[1] ~= ARGV[1] or found[2] ~= ARGV[2] or grant ~= ARGV[3] or cold ~= ARGV[4] then
  return 0
end
local top = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if not top or top[1] ~= ARGV[2] .. '-0' or top[2][2] ~= ARGV[6] then
  return 0
end
-- First what a Redis without memory grants, too; it then lets the script go on.
redis.call('UNLINK', KEYS[2])
redis.call('HSET', KEYS[1], 'cold', ARGV[5])
return 1

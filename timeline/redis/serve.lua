-- Notes that a server is serving from here, for as long as it says so again in time.
--
-- KEYS  1 the server's name, 2 version of the layout (one slot)
-- ARGV  1 name of whoever asks, 2 how long that holds, in milliseconds, 0 to end it; 3 version of
--       the layout that it writes
-- Answer: {version of the layout, 1 if it serves now, 0 if somebody else does}

local version = redis.call('GET', KEYS[2])
if not version then
  version = ARGV[3]
  redis.call('SET', KEYS[2], version)
end
local serving = redis.call('GET', KEYS[1])
if tonumber(version) > tonumber(ARGV[3]) or (serving and serving ~= ARGV[1]) then
  return {version, 0}
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return {version, 1}

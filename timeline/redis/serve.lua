-- Notes that a server serves from here, for as long as it says so again in time.
--
-- Any number of them may. Each has a lease, a key that goes by itself, and is listed so that the
-- others can look at its lease. Older code let one server in at a time, and knew nothing of owners:
-- while such a one serves nobody else may, and none of it may come in again.
--
-- KEYS  1 its lease, 2 all servers, 3 version of the layout, 4 who serves by older code, 5 the list
--       of outboxes, which was a set; 6 that its process is known to have ended (one slot)
-- ARGV  1 its name, 2 how long that holds, in milliseconds, 0 to end it; 3 what it says of itself;
--       4 version of the layout that it writes
-- Answer: {version of the layout, 1 if it serves now, 1 if it had a lease already}; {version, 2, 0}
--       if its process is known to have ended: this was still on its way

local version = redis.call('GET', KEYS[3])
if not version or tonumber(version) < tonumber(ARGV[4]) then
  if version and redis.call('EXISTS', KEYS[4]) == 1 then
    return {version, 0, 0}
  end
  version = ARGV[4]
  redis.call('SET', KEYS[3], version)
  if redis.call('TYPE', KEYS[5]).ok == 'set' then
    local names = redis.call('SMEMBERS', KEYS[5])
    redis.call('DEL', KEYS[5])
    for _, name in ipairs(names) do
      redis.call('HSET', KEYS[5], name, '')
    end
  end
end
if tonumber(version) > tonumber(ARGV[4]) then
  return {version, 0, 0}
end
if ARGV[2] ~= '0' and redis.call('EXISTS', KEYS[6]) == 1 then
  return {version, 2, 0}
end
local had = redis.call('EXISTS', KEYS[1])
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  redis.call('SREM', KEYS[2], ARGV[1])
else
  -- First what a Redis without memory grants, too; it then lets the script go on.
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
  redis.call('SADD', KEYS[2], ARGV[1])
end
return {version, 1, had}

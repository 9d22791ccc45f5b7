-- Takes away all that is kept of a principal, or all of one key: the facts, and the changes that
-- could bring them back.
--
-- A change that is still under way names a version that is none any more, and comes too late. Where
-- nothing else is left the version stays for a while only, longer than anything can be under way.
--
-- KEYS  1 head, 2 facts, 3 changes, 4 their order (one slot)
-- ARGV  1 next version, 2 how long a version stays alone, in milliseconds, 3 the key, or none
--       for all
-- Answer: {facts, changes} that were taken away

local head, facts, changes, order = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function count(key)
  local found = redis.pcall('HLEN', key)
  return type(found) == 'number' and found or 0
end

local gone = {0, 0}
-- What deletes comes first: a Redis without memory grants it, and then lets the script go on.
if #ARGV == 2 then
  gone = {count(facts), count(changes)}
  redis.call('UNLINK', head, facts, changes, order)
else
  local all = redis.call('HGETALL', changes)
  redis.call('ZCARD', order)
  gone[1] = redis.call('HDEL', facts, ARGV[3])
  for at = 1, #all, 2 do
    if string.match(all[at + 1], '^%d+ (%S+) ') == ARGV[3] then
      redis.call('HDEL', changes, all[at])
      redis.call('ZREM', order, all[at])
      gone[2] = gone[2] + 1
    end
  end
end
redis.call('HSET', head, 'version', ARGV[1])
if redis.call('HEXISTS', head, 'made') == 0 then
  redis.call('PEXPIRE', head, ARGV[2])
end
return gone

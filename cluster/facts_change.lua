-- Makes one change to what is remembered of a principal, if it is still as it was
-- when that was planned.
--
-- Whoever changes has read first, has decided what the change comes to, and names the version that
-- was read. Each change, each erasure and each "there is none" makes another version, by chance and
-- so never twice; what was planned before comes too late. As the script runs alone, this is a
-- compare-and-set. The same change sent again is answered with what was made the first time.
--
-- KEYS  1 head, 2 facts, 3 changes, 4 their order (one slot)
-- ARGV  1 version that was read, or ''; 2 version after it; 3 key of the action, 4 the change;
--       5 key of the fact, 6 the fact, or '' to take it away; 7 how many changes are kept
-- Answer: {1, change} made, now or before; {0} the version is another, and nothing was done

local head, facts, changes, order = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local made = redis.call('HGET', changes, ARGV[3])
if made then
  return {1, made}
end
if (redis.call('HGET', head, 'version') or '') ~= ARGV[1] then
  return {0}
end
-- Keys that are none of ours end the script here, before anything is written.
redis.call('HLEN', facts)
redis.call('ZCARD', order)

-- A Redis without memory refuses the first write, and lets the script go on after one.
redis.call('HSET', head, 'version', ARGV[2])
redis.call('PERSIST', head)
redis.call('HSET', changes, ARGV[3], ARGV[4])
redis.call('ZADD', order, redis.call('HINCRBY', head, 'made', 1), ARGV[3])
if ARGV[6] == '' then
  redis.call('HDEL', facts, ARGV[5])
else
  redis.call('HSET', facts, ARGV[5], ARGV[6])
end
while redis.call('ZCARD', order) > tonumber(ARGV[7]) do
  redis.call('HDEL', changes, redis.call('ZPOPMIN', order)[1])
  redis.call('HSET', head, 'forgetful', 1)
end
return {1, ARGV[4]}

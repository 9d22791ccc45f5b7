-- Says what became of a change. Where it was not made, it never will be: what is still under way
-- names a version that is none any more.
--
-- Of a principal of whom nothing is kept the version stays for a while only, longer than anything
-- can be under way.
--
-- KEYS  1 head, 2 changes (one slot)
-- ARGV  1 key of the action, 2 next version, 3 how long a version stays alone, in milliseconds
-- Answer: {1, change} made; {2} not known, older ones are not kept; {0} not made

local head, changes = KEYS[1], KEYS[2]
local made = redis.call('HGET', changes, ARGV[1])
if made then
  return {1, made}
end
if redis.call('HEXISTS', head, 'forgetful') == 1 then
  return {2}
end
-- First what a Redis without memory grants, too; it then lets the script go on.
redis.call('PERSIST', head)
redis.call('HSET', head, 'version', ARGV[2])
if redis.call('HEXISTS', head, 'made') == 0 then
  redis.call('PEXPIRE', head, ARGV[3])
end
return {0}

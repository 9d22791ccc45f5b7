-- Raises the fence of one session: what was let in before and is still under way comes too late.
--
-- Only its owner may do so, who knows the fence as it is. Where that has been raised, another server
-- has taken the session over, and what was under way comes too late already.
--
-- KEYS  1 row
-- ARGV  1 fence that is known
-- Answer: the new fence, or 0 where there is another one or no session

if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
if (redis.call('HGET', KEYS[1], 'fence') or '0') ~= ARGV[1] then
  return 0
end
return redis.call('HINCRBY', KEYS[1], 'fence', 1)

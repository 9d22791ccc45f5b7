-- Raises the fence of one session: what was let in before and is still under way comes too late.
--
-- KEYS  1 row
-- Answer: the new fence, or 0 without a session

if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
return redis.call('HINCRBY', KEYS[1], 'fence', 1)

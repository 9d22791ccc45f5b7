-- Erases one session: from here on nobody finds it, and it takes no append.
--
-- What is left to do elsewhere (the lists of sessions, the line of the audit) is put in the
-- session's outbox in the same moment, so that a crash forgets none of it. An item that is there
-- already says that an earlier try has come through, whose answer was lost. The item says which file
-- the row named; where that has become another, nothing is done, and the item has to be made anew.
--
-- KEYS  1 row, 2 events, 3 outbox (one slot)
-- ARGV  1 item for the outbox, '' where there was no session, 2 the file that the row named or ''
-- Answer: 1 if the session was there, else 0, or -1 if its row names another file

if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('UNLINK', KEYS[2])
  return redis.call('LPOS', KEYS[3], ARGV[1]) and 1 or 0
end
if ARGV[1] == '' then
  return 0
end
if (redis.call('HGET', KEYS[1], 'cold') or '') ~= ARGV[2] then
  return -1
end
redis.call('RPUSH', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[1])
redis.call('UNLINK', KEYS[2])
return 1

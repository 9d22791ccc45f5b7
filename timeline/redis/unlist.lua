-- Takes empty outboxes off the list of those that may have something in them.
--
-- Whoever fills an outbox lists it first, under its own name. So it alone may take it off again, or,
-- once it has gone, whoever looks after what it left; a later one has put its name over it.
--
-- KEYS  1 the list
-- ARGV  1 under whose name they are listed; the sessions
-- Answer: 1

for at = 2, #ARGV do
  if redis.call('HGET', KEYS[1], ARGV[at]) == ARGV[1] then
    redis.call('HDEL', KEYS[1], ARGV[at])
  end
end
return 1

-- Keeps the lists of sessions: all of them, those of a principal, those that may need recovery.
--
-- They lie in another slot than the sessions, so they are never in step with them to the moment.
-- What is listed may therefore not be there (a crash came between), and what may have to be
-- recovered is listed before it is written: too many names are harmless, one too few is not.
-- Beside each of these is noted with which fence it was listed last: a former owner of a session
-- that comes late, and would take it off, has a lower one.
-- A place is the time of opening in microseconds, and always behind all others.
--
-- KEYS  1 all sessions, 2 unsettled ones, 3 their fences, then for each new session the list of its
--       owner
-- ARGV  1 count of sessions that are settled, 2 count of those that may be unsettled; the names of
--       the first and of the second, each with its fence; the names of the new sessions

local all, unsettled, marks = KEYS[1], KEYS[2], KEYS[3]
local settled, marked = tonumber(ARGV[1]), tonumber(ARGV[2])

local function noted(name)
  return tonumber(redis.call('HGET', marks, name) or '-1')
end

for at = 3, 1 + 2 * settled, 2 do
  if noted(ARGV[at]) <= tonumber(ARGV[at + 1]) then
    redis.call('ZREM', unsettled, ARGV[at])
    redis.call('HDEL', marks, ARGV[at])
  end
end
for number = 1, #KEYS - 3 do
  local name = ARGV[2 + 2 * (settled + marked) + number]
  local now = redis.call('TIME')
  local place = tonumber(now[1]) * 1000000 + tonumber(now[2])
  local top = redis.call('ZREVRANGE', all, 0, 0, 'WITHSCORES')
  if top[2] and tonumber(top[2]) >= place then
    place = tonumber(top[2]) + 1
  end
  place = string.format('%.0f', place)
  -- Who opens what is there already will be refused, and must not be listed as its owner.
  if redis.call('ZADD', all, 'NX', place, name) == 1 then
    redis.call('ZADD', KEYS[3 + number], place, name)
  end
end
for at = 3 + 2 * settled, 1 + 2 * (settled + marked), 2 do
  redis.call('ZADD', unsettled, redis.call('ZSCORE', all, ARGV[at]) or '0', ARGV[at])
  if noted(ARGV[at]) < tonumber(ARGV[at + 1]) then
    redis.call('HSET', marks, ARGV[at], ARGV[at + 1])
  end
end
return 1

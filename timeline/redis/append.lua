-- Appends events of one session behind its last one: all of them, or none.
--
-- Whoever appends names the seq that comes next, and the fence and the token that it was let in
-- with. A later owner of the session has raised the fence and drawn another token, and another
-- writer has moved the last seq: in both cases nothing is written, and the answer says what the
-- last seq is. Tokens are compared besides because a failover that loses a claim lets the next one
-- have its fence. Who has not appended yet and finds the token that its own replaced knows that its
-- claim was lost and that nobody has claimed since: it holds again. As the script runs alone,
-- this is a compare-and-set. The stream's own ids (`seq-0`) refuse a second event of a seq once
-- more. Of a session whose beginning is in a file the stream has what came since. One that is shorter
-- than its row says has lost events: nothing goes behind them. And
-- where another life of the server has the last append, as much may be lost as that another owner
-- was there: only who knows that there was none may go on.
--
-- KEYS  1 row, 2 events, 3 outbox (one slot)
-- ARGV  1 fence, 2 history, 3 first seq, 4 unsettled, 5 closed, 6 time of the last event or '',
--       7 seq of its title or '', 8 seq of its first words or '', 9 item for the outbox or '',
--       10 who appends, 11 its token, 12 the token that this replaced behind a '=', '' once something
--       was appended with it, 13 1 where nobody else can have appended since, 14 how many arguments
--       the session's columns take, 0 but where this append opens it; these columns, names and
--       values; then for each event its frame and its checksum
-- Answer: {1, last} stored, {0, last, owner or ''} refused, {2, last} damaged; nothing is written
--       but with 1

local row, events = KEYS[1], KEYS[2]
local first, columns = tonumber(ARGV[3]), tonumber(ARGV[14])
local found = redis.call('HMGET', row, 'epoch', 'last', 'fence', 'closed', 'said', 'owner', 'token',
  'history', 'cold')
local last = tonumber(found[2] or '0')
local cold = tonumber(string.match(found[9] or '0 ', '^(%d+)'))
local kept = (cold or 0) + redis.call('XLEN', events)

if last == nil or cold == nil or kept ~= last then
  return {2, kept}
end
local fence, granted = tonumber(found[3] or '0') or 0, tonumber(ARGV[1])
local owner, token = found[6] or '', found[7] or ''
if found[1] then
  local holds = token == ARGV[11] and fence <= granted
  local was_lost = ARGV[12] == '=' .. token and fence < granted
  local is_all = ARGV[13] == '1' or found[8] == ARGV[2]
  if columns > 0 or last + 1 ~= first or not (holds or was_lost) or not is_all then
    return {0, last, owner}
  end
elseif columns == 0 or first ~= 1 then
  return {0, last, ''}
end

local seq, size = first, 0
for at = 15 + columns, #ARGV, 2 do
  local id = string.format('%.0f-0', seq)
  local added = redis.pcall('XADD', events, id, 'f', ARGV[at], 'c', ARGV[at + 1])
  if type(added) == 'table' and added.err then
    -- Only the first can be refused, by its id or for want of memory: nothing is written yet.
    if string.find(added.err, 'equal or smaller', 1, true) then
      return {2, last}
    end
    return added
  end
  size = size + #ARGV[at]
  seq = seq + 1
end

if columns > 0 then
  redis.call('HSET', row, unpack(ARGV, 15, 14 + columns))
end
if fence < granted then
  -- A failover has lost that it was taken over.
  redis.call('HSET', row, 'fence', ARGV[1], 'owner', ARGV[10], 'token', ARGV[11])
end
local closed = ARGV[5]
if found[4] == '1' then
  closed = '1'
end
redis.call('HSET', row, 'last', string.format('%.0f', seq - 1), 'unsettled', ARGV[4],
  'closed', closed, 'at', ARGV[6], 'history', ARGV[2])
redis.call('HINCRBY', row, 'bytes', size)
if ARGV[7] ~= '' then
  redis.call('HSET', row, 'title', ARGV[7])
end
if ARGV[8] ~= '' and not found[5] then
  redis.call('HSET', row, 'said', ARGV[8])
end
if ARGV[9] ~= '' then
  redis.call('RPUSH', KEYS[3], ARGV[9])
end
return {1, seq - 1}

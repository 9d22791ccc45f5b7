-- Reads events of one session behind a seq: as many as fit, but at least one if there is one.
--
-- XRANGE knows no bound in bytes, so it is asked for a few events at a time and what is too much
-- stays here. Nothing is checked: the reader does that, who must not trust Redis either.
--
-- KEYS  1 row, 2 events (one slot)
-- ARGV  1 seq to read behind, 2 most events, 3 most bytes of frames
-- Answer: {} without a row, else {last seq by the row, 1 if the stream ended here, the file in which
-- the session begins or '', then for each event its id, frame and checksum}; no event where the next
-- one is in the file

local found = redis.call('HMGET', KEYS[1], 'last', 'cold')
local noted, cold = found[1], found[2] or ''
if not noted then
  return {}
end
local page, left, room = {noted, 0, cold}, tonumber(ARGV[2]), tonumber(ARGV[3])
if cold ~= '' and tonumber(ARGV[1]) < (tonumber(string.match(cold, '^(%d+)')) or math.huge) then
  return page
end
local from = string.format('%.0f', tonumber(ARGV[1]) + 1)
while left > 0 do
  local asked = math.min(left, 32)
  local events = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', asked)
  for _, event in ipairs(events) do
    local fields = event[2]
    local frame = fields[1] == 'f' and fields[2] or false
    local checksum = fields[3] == 'c' and fields[4] or false
    room = room - (frame and #frame or 0)
    if room < 0 and #page > 3 then
      return page
    end
    page[#page + 1] = event[1]
    page[#page + 1] = frame
    page[#page + 1] = checksum
    from = '(' .. event[1]
  end
  if #events < asked then
    page[2] = 1
    break
  end
  left = left - asked
end
return page

-- Adds lines to the audit's chain, if it still ends where the writer thinks.
--
-- Each line is hashed with the one before it, so the writer has to know the end, and writes only
-- if nobody was faster, on this server or another. The end is kept beside the lines and has to be
-- that of the last line: else the audit is damaged, and nothing that has to be audited may happen.
-- Whoever asks again because an answer was lost looks first whether its ids are taken.
--
-- KEYS  1 head, 2 lines, 3 ids of items that are taken (one slot)
-- ARGV  1 number of the last line, 2 its hash, 3 count of ids, those ids; then for each line its
--       text and its hash
-- Answer: {1} written, {0, number, hash} it ends elsewhere, {2} it is damaged

local head = redis.call('HMGET', KEYS[1], 'n', 'hash')
local top = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if head[1] or head[2] or top then
  local fields = top and top[2] or {}
  if not top or top[1] ~= (head[1] or '') .. '-0' or fields[4] ~= head[2] then
    return {2}
  end
end
local n, hash = head[1] or '0', head[2] or string.rep('\0', 32)
if n ~= ARGV[1] or hash ~= ARGV[2] then
  return {0, n, hash}
end
local ids = tonumber(ARGV[3])
local last, end_hash = tonumber(n), hash
for at = 4 + ids, #ARGV, 2 do
  last = last + 1
  end_hash = ARGV[at + 1]
  redis.call('XADD', KEYS[2], string.format('%.0f-0', last), 't', ARGV[at], 'h', end_hash)
end
redis.call('HSET', KEYS[1], 'n', string.format('%.0f', last), 'hash', end_hash)
for at = 4, 3 + ids do
  redis.call('SADD', KEYS[3], ARGV[at])
end
return {1}

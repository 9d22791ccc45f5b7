-- The tickets, and what is counted of them: what slots.lua stands on. Both are one script.

local request = cmsgpack.unpack(ARGV[1])
local me = request.node
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local settled, known, shares, moved = 0, {}, {}, 0
local answer = {granted = {}, stopped = {}, missing = {}, full = {}, now = now}

local add = table.insert

-- Tickets ----------------------------------------------------------------------------------------

local function ticket(id)
  if known[id] == nil then
    local text = redis.call('HGET', KEYS[1], id)
    known[id] = text and cmsgpack.unpack(text)
  end
  return known[id]
end

local function keep(one)
  known[one.id] = one
  redis.call('HSET', KEYS[1], one.id, cmsgpack.pack(one))
end

local function node_of(id)
  return string.match(id, '^(.*)/')
end

local function tickets_of(node)
  local found = {}
  for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
    if node_of(id) == node then
      add(found, ticket(id))
    end
  end
  table.sort(found, function(a, b) return a.number < b.number end)
  return found
end

local function tickets(ids)
  local found, unread = {}, {}
  for _, id in ipairs(ids) do
    if known[id] == nil then
      add(unread, id)
    end
  end
  for first = 1, #unread, 500 do -- more are too many arguments for one call
    local some = {unpack(unread, first, math.min(first + 499, #unread))}
    for place, text in ipairs(redis.call('HMGET', KEYS[1], unpack(some))) do
      known[some[place]] = text and cmsgpack.unpack(text)
    end
  end
  for _, id in ipairs(ids) do
    add(found, known[id])
  end
  return found
end

-- Of those named, who has not gone in this very call: its node may live, and take it at its word.
local function that_are_left(ids)
  local found = {}
  for _, id in ipairs(ids) do
    if ticket(id) then
      add(found, id)
    end
  end
  return found
end

local function share(name)
  if not shares[name] then
    shares[name] = tonumber(redis.call('HGET', KEYS[4], name) or 0)
  end
  return shares[name]
end

local function count(one, by)
  for _, name in ipairs({'p' .. one.pool, 'o' .. one.owner}) do
    shares[name] = nil
    if redis.call('HINCRBY', KEYS[4], name, by) == 0 then
      redis.call('HDEL', KEYS[4], name)
    end
  end
end

local function free()
  return request.most - redis.call('ZCARD', KEYS[2])
end

local function rank_of(one)
  return one.rank + math.max(0, math.floor((now - one.since) / request.aging))
end

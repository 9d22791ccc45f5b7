-- Shares out model slots among all servers, as actors/slot_queue.py does for one: the same who is
-- next, the same promises. Whoever calls also says again that it is there.
--
-- A ticket is `node/number`. It waits, or it runs, and then it has `granted`, when that was. A node
-- that says nothing more for as long as a lease holds has no tickets any more. What Redis has
-- forgotten, or what came back with an older state, is put right by what the nodes renew: until all
-- have had the time for that, nobody is given a slot.
--
-- KEYS  1 the tickets, a hash; 2 those that run, 3 those that wait, sorted sets by rank; 4 how many
--       run of each pool and owner, a hash; 5 life of the Redis server, until when nobody is given
--       a slot, how many have asked, a hash; 6 the nodes, a sorted set by the end of their leases;
--       7 how many tickets each has, a hash; 8 how long the last turns had their slots, a list
-- ARGV  1 the request, as MessagePack; all times are in microseconds:
--       node, life, known: it has called before; doubt: for how long others may not have come yet,
--       lease, most, aging, preempted_most, waiting_most: tickets that are kept;
--       gone: nodes that have gone, backs: numbers given back, asks: new tickets, renews: {held, waiting}, leaves
-- Answer: granted and stopped: of any node; missing: numbers to be asked for again; full: numbers
--       that there is no room for; outlook; now. As MessagePack

local request = cmsgpack.unpack(ARGV[1])
local me = request.node
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local settled, known, shares = 0, {}, {}
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

-- Says which of two lists of numbers is smaller; the first difference counts.
local function is_before(one, other)
  for place = 1, #one do
    if one[place] ~= other[place] then
      return one[place] < other[place]
    end
  end
  return false
end

local function first_of(some, order)
  local first, best
  for place, one in ipairs(some) do
    local key = order(one)
    if not first or is_before(key, best) then
      first, best = place, key
    end
  end
  return first
end

-- Who is next ------------------------------------------------------------------------------------

local function unpromise(one)
  for _, id in ipairs({one.heir or false, one.donor or false}) do
    local other = id and ticket(id)
    if other then
      other.heir, other.donor = nil, nil
      keep(other)
    end
  end
  one.heir, one.donor = nil, nil
end

local function run(one, since)
  redis.call('ZREM', KEYS[3], one.id)
  redis.call('ZADD', KEYS[2], one.rank, one.id)
  one.granted = since
  count(one, 1)
  unpromise(one)
  keep(one)
end

local function grant(one)
  run(one, now)
  add(answer.granted, one.id)
end

local function waiting(least)
  return tickets(redis.call('ZREVRANGEBYSCORE', KEYS[3], '+inf', least))
end

local function give_out()
  if now < settled or free() <= 0 or redis.call('ZCARD', KEYS[3]) == 0 then
    return
  end
  local some = waiting('-inf')
  while #some > 0 and free() > 0 do
    local place = first_of(some, function(one)
      local pool, owner = share('p' .. one.pool), share('o' .. one.owner)
      return {-rank_of(one), pool / one.weight, owner / one.weight, one.since, one.number}
    end)
    grant(table.remove(some, place))
  end
end

local function lenders(below)
  local found = {}
  local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. below)
  for _, one in ipairs(tickets(ids)) do
    if not one.heir and (one.stopped or one.preempted < request.preempted_most) then
      add(found, one)
    end
  end
  return found
end

local function rank_at_end(key, command)
  return tonumber(redis.call(command, key, 0, 0, 'WITHSCORES')[2])
end

-- Promises slots of lower tiers to those who wait.
local function take_for_waiting()
  local lowest, highest = rank_at_end(KEYS[2], 'ZRANGE'), rank_at_end(KEYS[3], 'ZREVRANGE')
  if now < settled or free() ~= 0 or not lowest or not highest or highest <= lowest then
    return -- with more slots than that they are given out, with fewer one back would be nobody's
  end
  local heirs = {}
  for _, one in ipairs(waiting('(' .. lowest)) do
    if not one.donor then
      add(heirs, one)
    end
  end
  local some = #heirs > 0 and lenders(highest) or {}
  while #heirs > 0 and #some > 0 do
    local heir = table.remove(heirs, first_of(heirs, function(one)
      return {-one.rank, one.since, one.number}
    end))
    local place = first_of(some, function(one)
      local too_high = one.rank >= heir.rank and 1 or 0
      return {too_high, one.stopped and 0 or 1, one.rank, -one.granted, -one.number}
    end)
    local victim = table.remove(some, place)
    if victim.rank >= heir.rank then
      return -- for those after it there is none either
    end
    victim.heir, heir.donor = heir.id, victim.id
    if not victim.stopped then
      victim.stopped = true
      add(answer.stopped, victim.id)
    end
    keep(victim)
    keep(heir)
  end
end

local function decide()
  give_out()
  take_for_waiting()
end

-- What is asked ----------------------------------------------------------------------------------

local function take_out(one)
  local heir = one.heir and ticket(one.heir)
  redis.call('HDEL', KEYS[1], one.id)
  known[one.id] = false
  redis.call('ZREM', KEYS[3], one.id)
  if redis.call('ZREM', KEYS[2], one.id) == 1 then
    count(one, -1)
  end
  if redis.call('HINCRBY', KEYS[7], node_of(one.id), -1) <= 0 then
    redis.call('HDEL', KEYS[7], node_of(one.id))
  end
  unpromise(one)
  if heir and free() > 0 and now >= settled then
    grant(heir)
  end
end

local function give_back(number)
  local one = ticket(me .. '/' .. number)
  if one then
    if one.granted then
      redis.call('LPUSH', KEYS[8], now - one.granted)
      redis.call('LTRIM', KEYS[8], 0, request.holds - 1)
    end
    take_out(one)
    decide()
  end
end

local function has_room(rank)
  local most, lowest = request.waiting_most, rank_at_end(KEYS[3], 'ZRANGE')
  if lowest and rank > lowest then
    most = 2 * most -- a crowd below keeps nobody out
  end
  return redis.call('ZCARD', KEYS[3]) < most
end

local function ask(wish)
  local id = me .. '/' .. wish.number
  local one = ticket(id)
  if one then -- an answer was lost, or Redis has gone back to an older state
    if wish.held and not one.granted then
      run(one, now - wish.held)
    end
    add(one.granted and answer.granted or {}, id)
    add(one.stopped and answer.stopped or {}, id)
    return
  end
  if not wish.held and not has_room(wish.rank) then
    add(answer.full, wish.number)
    return
  end
  one = {
    id = id, rank = wish.rank, weight = wish.weight, pool = wish.pool, owner = wish.owner,
    since = now - wish.waited, preempted = wish.preempted,
    number = redis.call('HINCRBY', KEYS[5], 'asked', 1),
  }
  redis.call('HINCRBY', KEYS[7], me, 1)
  if wish.held then
    run(one, now - wish.held)
  else
    redis.call('ZADD', KEYS[3], one.rank, id)
    keep(one)
  end
  decide()
end

-- Compares what a node has with what is here of it; what it has given back has to go.
local function compare(held, waits)
  local mine, found = {}, 0
  for _, wish in ipairs(request.asks) do -- its answer may have been lost
    local id = me .. '/' .. wish.number
    mine[id] = true
    found = found + (ticket(id) and 1 or 0)
  end
  for place, numbers in ipairs({held, waits}) do
    for _, number in ipairs(numbers) do
      local one = ticket(me .. '/' .. number)
      mine[me .. '/' .. number] = true
      found = found + (one and 1 or 0)
      if not one or (place == 1 and not one.granted) then
        add(answer.missing, number)
      else
        add(place == 2 and one.granted and answer.granted or {}, one.id)
        add(one.stopped and answer.stopped or {}, one.id)
      end
    end
  end
  if tonumber(redis.call('HGET', KEYS[7], me) or 0) ~= found then
    for _, one in ipairs(tickets_of(me)) do
      if not mine[one.id] then
        take_out(one)
      end
    end
    redis.call('HSET', KEYS[7], me, #tickets_of(me))
  end
end

local function forget(node)
  for _, one in ipairs(tickets_of(node)) do
    take_out(one)
  end
  redis.call('ZREM', KEYS[6], node)
  redis.call('HDEL', KEYS[7], node)
end

-- Says that a node is there. Who was away itself takes nobody else for dead: Redis may have been
-- away from all of them, and it is only the first to be back.
local function be_there()
  local before = tonumber(redis.call('ZSCORE', KEYS[6], me) or 0)
  redis.call('ZADD', KEYS[6], now + request.lease, me)
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', '(' .. now)) do
    if before >= now then
      forget(node)
    elseif request.known then
      redis.call('ZADD', KEYS[6], now + request.lease, node)
    end
  end
end

local function meet_redis()
  local found = redis.call('HMGET', KEYS[5], 'life', 'settled')
  settled = tonumber(found[2] or 0)
  if found[1] ~= request.life then
    local is_fresh = not found[1] and not request.known
    settled = now + (is_fresh and request.doubt or request.lease)
    redis.call('HSET', KEYS[5], 'life', request.life, 'settled', settled)
  end
end

local function outlook()
  local ranks, lowest, sum = {}, nil, 0
  for _, one in ipairs(waiting('-inf')) do
    local rank = tostring(rank_of(one))
    ranks[rank] = (ranks[rank] or 0) + 1
  end
  for _, one in ipairs(free() > 0 and {} or lenders('+inf')) do
    lowest = math.min(lowest or one.rank, one.rank)
  end
  local holds = redis.call('LRANGE', KEYS[8], 0, -1)
  for _, hold in ipairs(holds) do
    sum = sum + hold
  end
  return {
    free = now < settled and math.min(0, free()) or free(),
    lowest = lowest, mean = #holds > 0 and sum / #holds or nil,
    -- One that is always there: an empty table would be a list.
    ranks = next(ranks) and ranks or {['0'] = 0},
  }
end

meet_redis()
be_there()
for _, node in ipairs(request.gone) do
  forget(node)
  decide()
end
for _, number in ipairs(request.backs) do
  give_back(number)
end
if request.renews then
  compare(request.renews[1], request.renews[2])
  decide()
end
for _, wish in ipairs(request.asks) do
  ask(wish)
end
if request.renews then
  answer.outlook = outlook()
end
if request.leaves then
  forget(me)
  decide()
end
return cmsgpack.pack(answer)

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
--       a slot, how many have asked, who was put off longest, a hash; 6 the nodes, a sorted set by the end of their leases;
--       7 how many tickets each has, a hash; 8 how long the last turns had their slots, a list
-- ARGV  1 the request, as MessagePack; all times are in microseconds:
--       node, life, known: it has called before; doubt: for how long others may not have come yet,
--       lease, most, aging, preempted_most, waiting_most: tickets that are kept;
--       gone: nodes that have gone, backs: numbers given back, asks: new tickets,
--       renews: {held, waiting}, leaves, goes_on: decides what the last call has left
-- Answer: granted and stopped: of any node; more: there is more to decide than one call may;
--       missing: numbers to be asked for again; full: numbers that there is no room for; outlook;
--       now. As MessagePack

local MOST_MOVED = 64 -- slots that one call gives out or takes: Redis serves others, too

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

-- Says who of some is next; they are in order of rank, and of age within that.
local function next_of(some)
  local first, pool, owner
  for place, one in ipairs(some) do
    if first and one.rank < some[first].rank then
      break
    end
    local by_pool, by_owner = share(one.pool) / one.weight, share(one.owner) / one.weight
    if not first or by_pool < pool or (by_pool == pool and by_owner < owner) then
      first, pool, owner = place, by_pool, by_owner
    end
    if pool == 0 and owner == 0 then
      break -- nobody has less
    end
  end
  return first
end

local function in_order_of_age(one, other)
  if one.rank ~= other.rank then
    return one.rank > other.rank
  end
  if one.since ~= other.since then
    return one.since < other.since
  end
  return one.number < other.number
end

local function may_move()
  answer.more = moved >= MOST_MOVED
  moved = moved + 1
  return not answer.more
end

local function give_out()
  if now < settled or free() <= 0 or redis.call('ZCARD', KEYS[3]) == 0 then
    return
  end
  local some = {}
  for _, one in ipairs(waiting('-inf')) do
    add(some, {
      ticket = one, rank = rank_of(one), since = one.since, number = one.number,
      pool = 'p' .. one.pool, owner = 'o' .. one.owner, weight = one.weight,
    })
  end
  table.sort(some, in_order_of_age)
  while #some > 0 and free() > 0 and may_move() do
    grant(table.remove(some, next_of(some)).ticket)
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

-- Who is stopped already, and whose heir has gone, costs nobody anything.
local function in_order_of_cost(one, other)
  if (one.stopped or false) ~= (other.stopped or false) then
    return one.stopped
  end
  if one.rank ~= other.rank then
    return one.rank < other.rank
  end
  if one.granted ~= other.granted then
    return one.granted > other.granted
  end
  return one.number > other.number
end

-- Promises slots of lower tiers to those who wait.
local function take_for_waiting()
  local lowest, highest = rank_at_end(KEYS[2], 'ZRANGE'), rank_at_end(KEYS[3], 'ZREVRANGE')
  if now < settled or free() ~= 0 or not lowest or not highest or highest <= lowest then
    return -- with more slots than that they are given out, with fewer one back would be nobody's
  end
  local some = lenders(highest)
  if #some == 0 then
    return
  end
  local heirs = {}
  for _, one in ipairs(waiting('(' .. lowest)) do
    if not one.donor then
      add(heirs, one)
    end
  end
  table.sort(heirs, in_order_of_age)
  table.sort(some, in_order_of_cost)
  local place = 1
  for _, heir in ipairs(heirs) do
    while some[place] and some[place].rank >= heir.rank do
      place = place + 1 -- those after it have no higher rank
    end
    local victim = some[place]
    if not victim or not may_move() then
      return
    end
    place = place + 1
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
  if answer.more then
    return
  end
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

-- Who has been put off longest, as far as is known; who leaves without a word, not for long.
local function first_outside()
  local text = redis.call('HGET', KEYS[5], 'outside')
  local first = text and cmsgpack.unpack(text)
  return first and first.till > now and first or {}
end

local function give_back(number)
  local one = ticket(me .. '/' .. number)
  if first_outside().id == me .. '/' .. number then
    redis.call('HDEL', KEYS[5], 'outside')
  end
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

-- Lets nobody in before those who were put off and come before it.
local function lets_in(one)
  local first = first_outside()
  if first.id and first.id ~= one.id and in_order_of_age(first, one) then
    return false
  end
  if has_room(one.rank) then
    if first.id == one.id then
      redis.call('HDEL', KEYS[5], 'outside')
    end
    return true
  end
  one.till = now + request.lease / 3
  redis.call('HSET', KEYS[5], 'outside', cmsgpack.pack(one))
  return false
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
  one = {
    id = id, rank = wish.rank, weight = wish.weight, pool = wish.pool, owner = wish.owner,
    since = now - wish.waited, preempted = wish.preempted, number = wish.number,
  }
  if not wish.held and not lets_in(one) then
    add(answer.full, wish.number)
    return
  end
  one.number = redis.call('HINCRBY', KEYS[5], 'asked', 1)
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
if request.goes_on then
  decide()
end
if request.renews then
  answer.outlook = outlook()
end
if request.leaves then
  forget(me)
  decide()
end
answer.granted, answer.stopped = that_are_left(answer.granted), that_are_left(answer.stopped)
return cmsgpack.pack(answer)

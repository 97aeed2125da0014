--[[
claim: leases members that are due, or whose lease has expired, to one worker.

KEYS     1 due      zset: member -> when it is due, ms of Redis time
         2 leased   zset: member -> when its lease expires, ms
         3 owner    hash: member -> "<token> <worker>", and " wake" behind it if it was woken
         4 epoch    string: the ring epoch; absent: there is no ring
         5 counter  string: the highest counter of a token so far
ARGV     1 now      ms since 1970, only for tests; empty: the time of Redis
         2 worker   id of the worker that claims
         3 lease    how long the leases hold, ms
         4 limit    most members to lease, at most 500
Returns  {"no_ring"}, or
         {"claims", epoch, counter, wait, member, overdue, member, overdue, ...}:
         the i-th member has the token "<epoch>.<counter + i>" and is overdue by so many ms;
         `wait` is the time in ms until the next member is due or the next lease expires, 0 if one
         is due already, -1 if there is none
Cost     O(n log m) for n members leased and m in the queue
Keeps    a member is in at most one of `due` and `leased`, and has an owner if and only if it is
         leased; counters grow, and never fall behind the time in us, so that they do not repeat
         when Redis comes back with older data; a new lease takes no mark over, for the turn that
         the mark asks for is the one that begins
]]
local due_key, leased_key, owner_key = KEYS[1], KEYS[2], KEYS[3]
local epoch_key, counter_key = KEYS[4], KEYS[5]
local clock = redis.call('TIME')
local now = tonumber(ARGV[1]) or clock[1] * 1000 + math.floor(clock[2] / 1000)
local worker, lease, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local epoch = redis.call('GET', epoch_key)
if not epoch then
  return { 'no_ring' }
end
local counter = math.max(tonumber(redis.call('GET', counter_key) or 0), now * 1000)
local reply = { 'claims', epoch, string.format('%.0f', counter), -1 }
local leases, owners = {}, {}
local expires, claimed = now + lease, 0

local function take(member, since)
  claimed = claimed + 1
  leases[2 * claimed - 1] = expires
  leases[2 * claimed] = member
  owners[2 * claimed - 1] = member
  owners[2 * claimed] = string.format('%s.%.0f %s', epoch, counter + claimed, worker)
  reply[2 * claimed + 3] = member
  reply[2 * claimed + 4] = now - since
end

if limit > 0 then
  local expired = redis.call(
    'ZRANGEBYSCORE', leased_key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #expired, 2 do
    take(expired[i], tonumber(expired[i + 1]))
  end
end
if claimed < limit then
  local due = redis.call(
    'ZRANGEBYSCORE', due_key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit - claimed)
  for i = 1, #due, 2 do
    take(due[i], tonumber(due[i + 1]))
  end
  if #due > 0 then
    redis.call('ZREMRANGEBYRANK', due_key, 0, #due / 2 - 1)
  end
end
if claimed > 0 then
  redis.call('ZADD', leased_key, unpack(leases))
  redis.call('HSET', owner_key, unpack(owners))
  redis.call('SET', counter_key, string.format('%.0f', counter + claimed))
end

local next_due = redis.call('ZRANGE', due_key, 0, 0, 'WITHSCORES')[2]
local next_expiry = redis.call('ZRANGE', leased_key, 0, 0, 'WITHSCORES')[2]
if next_due or next_expiry then
  local next = math.min(tonumber(next_due or math.huge), tonumber(next_expiry or math.huge))
  reply[4] = math.max(0, next - now)
end
return reply

--[[
extend: makes leases hold longer, for turns that are still at work.

KEYS     1 leased  zset: member -> when its lease expires, ms of Redis time
         2 owner   hash: member -> "<token> <worker>", and " wake" behind it if it was woken
ARGV     1 now     ms since 1970, only for tests; empty: the time of Redis
         2 worker  id of the worker that holds the leases
         3 lease   how long the leases hold from now, ms
         4...      pairs of member and token; at most 500 pairs
Returns  one of "held" and "lost" for each pair, in their order
Cost     O(n log m) for n pairs and m leased members
Keeps    only the lease of this token and worker is touched; an expired lease that nobody took over
         is held again; owner and mark stay as they are
]]
local leased_key, owner_key = KEYS[1], KEYS[2]
local clock = redis.call('TIME')
local now = tonumber(ARGV[1]) or clock[1] * 1000 + math.floor(clock[2] / 1000)
local worker, lease = ARGV[2], tonumber(ARGV[3])
local pairs_given = (#ARGV - 3) / 2

if pairs_given == 0 then
  return {}
end

local members = {}
for i = 1, pairs_given do
  members[i] = ARGV[2 * i + 2]
end
local owners = redis.call('HMGET', owner_key, unpack(members))

local reply, leases = {}, {}
for i = 1, pairs_given do
  local mine = ARGV[2 * i + 3] .. ' ' .. worker
  if owners[i] == mine or owners[i] == mine .. ' wake' then
    reply[i] = 'held'
    leases[#leases + 1] = now + lease
    leases[#leases + 1] = members[i]
  else
    reply[i] = 'lost'
  end
end
if #leases > 0 then
  redis.call('ZADD', leased_key, 'XX', unpack(leases))
end
return reply

--[[
settle: ends turns: gives their leases back and says when each member is due again, or never.

KEYS     1 due     zset: member -> when it is due, ms of Redis time
         2 leased  zset: member -> when its lease expires, ms
         3 owner   hash: member -> "<token> <worker>", and " wake" behind it if it was woken
ARGV     1 now     ms since 1970, only for tests; empty: the time of Redis
         2 worker  id of the worker that holds the leases
         3...      triples of member, token and delay from now until it is due again, ms, or "done";
                   at most 500 triples
Returns  one of "settled", "woken" and "lost" for each triple, in their order; "woken": it was woken
         during its turn and is therefore due now, whatever the turn wished
Cost     O(n log m) for n triples and m members in the queue
Keeps    only the lease of this token and worker is ended, and once; a mark is never lost; a member
         is in at most one of `due` and `leased`, and has an owner if and only if it is leased
]]
local due_key, leased_key, owner_key = KEYS[1], KEYS[2], KEYS[3]
local clock = redis.call('TIME')
local now = tonumber(ARGV[1]) or clock[1] * 1000 + math.floor(clock[2] / 1000)
local worker = ARGV[2]
local triples = (#ARGV - 2) / 3

if triples == 0 then
  return {}
end

local members = {}
for i = 1, triples do
  members[i] = ARGV[3 * i]
end
local owners = redis.call('HMGET', owner_key, unpack(members))

local reply, ended, seen, entries = {}, {}, {}, {}
for i = 1, triples do
  local member, owner, delay = members[i], owners[i], ARGV[3 * i + 2]
  local mine = ARGV[3 * i + 1] .. ' ' .. worker
  local verdict = 'lost'
  if owner and not seen[member] then
    if owner == mine then
      verdict = 'settled'
    elseif owner == mine .. ' wake' then
      verdict, delay = 'woken', 0
    end
  end
  if verdict ~= 'lost' then
    seen[member] = true
    ended[#ended + 1] = member
    if delay ~= 'done' then
      entries[#entries + 1] = now + delay
      entries[#entries + 1] = member
    end
  end
  reply[i] = verdict
end
if #ended > 0 then
  redis.call('ZREM', leased_key, unpack(ended))
  redis.call('HDEL', owner_key, unpack(ended))
end
if #entries > 0 then
  redis.call('ZADD', due_key, unpack(entries))
end
return reply

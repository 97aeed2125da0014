--[[
enter: puts members into the queue that are not in it.

KEYS     1 due     zset: member -> when it is due, ms of Redis time
         2 owner   hash: member -> "<token> <worker>", and " wake" behind it if it was woken
ARGV     1 now     ms since 1970, only for tests; empty: the time of Redis
         2...      pairs of member and delay from now until it is due, ms; at most 500 pairs
Returns  {"entered", number of members that were absent}
Cost     O(n log m) for n members given and m in the queue
Keeps    a member is in at most one of `due` and `leased`; one that is present keeps its due time,
         its lease and its mark
]]
local due_key, owner_key = KEYS[1], KEYS[2]
local clock = redis.call('TIME')
local now = tonumber(ARGV[1]) or clock[1] * 1000 + math.floor(clock[2] / 1000)
local pairs_given = (#ARGV - 1) / 2

if pairs_given == 0 then
  return { 'entered', 0 }
end

local members = {}
for i = 1, pairs_given do
  members[i] = ARGV[2 * i]
end
local owners = redis.call('HMGET', owner_key, unpack(members))

local entries = {}
for i = 1, pairs_given do
  if not owners[i] then
    entries[#entries + 1] = now + tonumber(ARGV[2 * i + 1])
    entries[#entries + 1] = members[i]
  end
end
if #entries == 0 then
  return { 'entered', 0 }
end
return { 'entered', redis.call('ZADD', due_key, 'NX', unpack(entries)) }

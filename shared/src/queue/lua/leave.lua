--[[
leave: takes a member out of the queue, leased or not.

KEYS     1 due     zset: member -> when it is due, ms of Redis time
         2 leased  zset: member -> when its lease expires, ms
         3 owner   hash: member -> "<token> <worker>", and " wake" behind it if it was woken
ARGV     1 member  the member
Returns  {"left"} or {"absent"}
Cost     O(log m) for m members in the queue
Keeps    a member that left is in none of the keys; the turn that held it settles as lost
]]
local due_key, leased_key, owner_key = KEYS[1], KEYS[2], KEYS[3]
local member = ARGV[1]

local removed = redis.call('ZREM', due_key, member) + redis.call('ZREM', leased_key, member)
redis.call('HDEL', owner_key, member)
return { removed > 0 and 'left' or 'absent' }

--[[
stats: counts what is in a shard.

KEYS     1 due      zset: member -> when it is due, ms of Redis time
         2 leased   zset: member -> when its lease expires, ms
         3 epoch    string: the ring epoch; absent: there is no ring
ARGV     1 now      ms since 1970, only for tests; empty: the time of Redis
Returns  {epoch or "", members waiting, of these due, members leased, of these with an expired
         lease, ms since which the oldest of the due members is due}
Cost     O(log m) for m members in the queue
Keeps    changes nothing
]]
local due_key, leased_key, epoch_key = KEYS[1], KEYS[2], KEYS[3]
local clock = redis.call('TIME')
local now = tonumber(ARGV[1]) or clock[1] * 1000 + math.floor(clock[2] / 1000)

local oldest = redis.call('ZRANGE', due_key, 0, 0, 'WITHSCORES')[2]
return {
  redis.call('GET', epoch_key) or '',
  redis.call('ZCARD', due_key),
  redis.call('ZCOUNT', due_key, '-inf', now),
  redis.call('ZCARD', leased_key),
  redis.call('ZCOUNT', leased_key, '-inf', now),
  math.max(0, now - tonumber(oldest or now)),
}

--[[
heartbeat: records that a worker lives, and forgets workers that no longer do.

KEYS     1 workers  zset: worker -> until when it counts as alive, ms of Redis time
ARGV     1 now      ms since 1970, only for tests; empty: the time of Redis
         2 worker   id of the worker
         3 ttl      how long it counts as alive from now, ms; 0: it leaves at once
Returns  {"noted"}, or {"left"} for a ttl of 0
Cost     O(log w) for w workers, and up to 1,000 dead ones forgotten
Keeps    nothing stays of a worker that left, or has been silent for longer than its ttl
]]
local workers_key = KEYS[1]
local clock = redis.call('TIME')
local now = tonumber(ARGV[1]) or clock[1] * 1000 + math.floor(clock[2] / 1000)
local worker, ttl = ARGV[2], tonumber(ARGV[3])

local dead = redis.call('ZRANGEBYSCORE', workers_key, '-inf', now, 'LIMIT', 0, 1000)
if #dead > 0 then
  redis.call('ZREM', workers_key, unpack(dead))
end
if ttl == 0 then
  redis.call('ZREM', workers_key, worker)
  return { 'left' }
end
redis.call('ZADD', workers_key, now + ttl, worker)
return { 'noted' }

--[[
live_workers: lists the workers that were heard of within their ttl.

KEYS     1 workers  zset: worker -> until when it counts as alive, ms of Redis time
ARGV     1 now      ms since 1970, only for tests; empty: the time of Redis
         2 limit    most workers to list, at most 1,000
Returns  their ids, those that are alive for the shortest time first
Cost     O(log w + n) for w workers and n listed
Keeps    changes nothing
]]
local workers_key = KEYS[1]
local clock = redis.call('TIME')
local now = tonumber(ARGV[1]) or clock[1] * 1000 + math.floor(clock[2] / 1000)
local limit = ARGV[2]

return redis.call('ZRANGEBYSCORE', workers_key, '(' .. string.format('%.0f', now), '+inf', 'LIMIT', 0, limit)

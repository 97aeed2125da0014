--[[
wake: makes a member due now, wherever it is; a wake is never lost.

KEYS     1 due      zset: member -> when it is due, ms of Redis time
         2 leased   zset: member -> when its lease expires, ms
         3 owner    hash: member -> "<token> <worker>", and " wake" behind it if it was woken
         4 wakes    channel: tells idle workers that something became due
ARGV     1 now      ms since 1970, only for tests; empty: the time of Redis
         2 member   the member
Returns  {"entered"}: it was absent; {"advanced"}: it is due now, and was due later;
         {"due"}: it was due already; {"marked"}: it is leased, and is due again when that turn ends
Cost     O(log m) for m members in the queue, and the subscribers of the channel
Keeps    a due time only gets earlier; a lease is not touched, only marked
]]
local due_key, leased_key, owner_key, wakes_channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local clock = redis.call('TIME')
local now = tonumber(ARGV[1]) or clock[1] * 1000 + math.floor(clock[2] / 1000)
local member = ARGV[2]

local owner = redis.call('HGET', owner_key, member)
if owner then
  if string.sub(owner, -5) ~= ' wake' then
    redis.call('HSET', owner_key, member, owner .. ' wake')
  end
  local expires = redis.call('ZSCORE', leased_key, member)
  if not expires or tonumber(expires) <= now then
    redis.call('PUBLISH', wakes_channel, member)
  end
  return { 'marked' }
end

local due = redis.call('ZSCORE', due_key, member)
local verdict = 'due'
if not due then
  verdict = 'entered'
elseif tonumber(due) > now then
  verdict = 'advanced'
end
if verdict ~= 'due' then
  redis.call('ZADD', due_key, now, member)
end
redis.call('PUBLISH', wakes_channel, member)
return { verdict }

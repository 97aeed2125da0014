--[[
begin: opens a ring epoch, without which nothing is claimed.

KEYS     1 epoch   string: the ring epoch; absent: there is no ring
ARGV     1 epoch   the epoch to open, below 2^53
Returns  {"begun", epoch}, or {"refused", present epoch} if that one is not lower
Cost     O(1)
Keeps    epochs only grow; members and leases stay as they are
]]
local epoch_key = KEYS[1]
local epoch = ARGV[1]

local present = redis.call('GET', epoch_key)
if present and tonumber(present) >= tonumber(epoch) then
  return { 'refused', present }
end
redis.call('SET', epoch_key, epoch)
return { 'begun', epoch }

--[[
members: lists one page of a shard, waiting or leased.

KEYS     1 listed  zset: the waiting or the leased members
ARGV     1 cursor  "0" to begin, then what the page before returned
         2 limit   about how many members a page has, at most 500
Returns  {next cursor, "0" at the end, member, member, ...}
Cost     O(n) for a page of n members
Keeps    changes nothing; a member that stays in `listed` from the first page to the last is listed,
         one that moves meanwhile may be missed or listed twice
]]
local listed_key = KEYS[1]
local cursor, limit = ARGV[1], ARGV[2]

local page = redis.call('ZSCAN', listed_key, cursor, 'COUNT', limit)
local reply = { page[1] }
for i = 1, #page[2], 2 do
  reply[#reply + 1] = page[2][i]
end
return reply

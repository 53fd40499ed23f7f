"""The atomic steps, as Lua. Each looks at the head first and writes nothing if it moved."""

# KEYS: journal, effects, event document, list of events, openings, awake, scans, then one
# booking index for each indexed booking.
# ARGV: expected head, new id, entry, event id, 1 if it is a claim, who claims,
#       event or '', its list member, its opening or '', paused or '', called off or '',
#       number of indexed bookings, number of effects, members of the bookings, then effects
#       and scans as index, record pairs.
# Returns the head that it found: equal to the expected one when the entry was written.
APPEND = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local head = newest[1] and newest[1][1] or '0-0'
if head ~= ARGV[1] then return head end
redis.call('XADD', KEYS[1], ARGV[2], 'e', ARGV[3])
local event_id = ARGV[4]
if ARGV[5] == '1' then
  redis.call('SADD', KEYS[6], event_id)
  redis.call('HSET', KEYS[3], 'owner', ARGV[6])
end
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[3], 'event', ARGV[7], 'at', ARGV[2])
  redis.call('ZADD', KEYS[4], 0, ARGV[8])
  if ARGV[9] ~= '' then redis.call('ZADD', KEYS[5], ARGV[9], event_id)
  else redis.call('ZREM', KEYS[5], event_id) end
end
if ARGV[10] ~= '' then redis.call('HSET', KEYS[3], 'paused', ARGV[10], 'at', ARGV[2]) end
if ARGV[11] ~= '' then redis.call('HSET', KEYS[3], 'cancelled', ARGV[11], 'at', ARGV[2]) end
local bookings = tonumber(ARGV[12])
for i = 1, bookings do redis.call('ZADD', KEYS[7 + i], 0, ARGV[13 + i]) end
local first = 14 + bookings
local scans = first + 2 * tonumber(ARGV[13])
for i = first, #ARGV, 2 do
  redis.call('XADD', KEYS[i < scans and 2 or 7], '*', 'event', event_id, 'entry', ARGV[2],
    'n', ARGV[i], 'r', ARGV[i + 1])
end
return head
"""

# KEYS: journal, snapshots. ARGV: epoch of the snapshot, its name, its manifest.
# Returns the head that it found: of a newer epoch when nothing was written. Its owner may
# have cleared the slices away.
FINISH = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local head = newest[1] and newest[1][1] or '0-0'
if tonumber(string.match(head, '^%d+')) <= tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
end
return head
"""

# KEYS: journal, awake. ARGV: expected head, event id. Returns 1 if the event now rests.
REST = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local head = newest[1] and newest[1][1] or '0-0'
if head ~= ARGV[1] then return 0 end
redis.call('SREM', KEYS[2], ARGV[2])
return 1
"""

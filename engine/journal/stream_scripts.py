"""The atomic steps of the streams, as Lua."""

# KEYS: stream, dead letters. ARGV: group, message id, reason, attempts.
# Returns 1 if it was buried, 0 if the group had finished it.
BURY = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then return 0 end
local fields = {'dead:id', ARGV[2], 'dead:reason', ARGV[3], 'dead:attempts', ARGV[4]}
local found = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
for _, part in ipairs(found[1] and found[1][2] or {}) do fields[#fields + 1] = part end
redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return 1
"""

# KEYS: dead letters, stream. ARGV: the letter's place, group.
# Returns the new place on the stream, nothing if there is no such letter.
REPLAY = """
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if not found[1] then return false end
local old, new, replays = found[1][2], {}, 0
for i = 1, #old, 2 do
  if old[i] == 'replays' then replays = tonumber(old[i + 1])
  elseif old[i] ~= 'to' and string.sub(old[i], 1, 5) ~= 'dead:' then
    new[#new + 1] = old[i]
    new[#new + 1] = old[i + 1]
  end
end
local place = redis.call('XADD', KEYS[2], '*', 'to', ARGV[2], 'replays', replays + 1, unpack(new))
redis.call('XDEL', KEYS[1], ARGV[1])
return place
"""

# KEYS: stream. ARGV: group, consumer, idle time in ms, then message id and delivery count
# ('' to leave it) of each message. Messages of other consumers stay theirs.
HOLD = """
for i = 4, #ARGV, 2 do
  local id, count = ARGV[i], ARGV[i + 1]
  local mine = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])[1]
  if mine then
    if count == '' then count = mine[4] end
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id,
      'IDLE', ARGV[3], 'RETRYCOUNT', count, 'JUSTID')
  end
end
"""

_GROUPS = """
local function groups(key)
  local found = {}
  if redis.call('EXISTS', key) == 0 then return found end
  for i, facts in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    found[i] = {}
    for j = 1, #facts, 2 do found[i][facts[j]] = facts[j + 1] end
  end
  return found
end
"""

# KEYS: stream. ARGV: groups that have to be known. Returns how many messages were dropped,
# none while one of them is not. The last one that was finished by all stays.
TRIM = (
    _GROUPS
    + """
local function before(a, b)
  local a_ms, a_n = string.match(a, '(%d+)-(%d+)')
  local b_ms, b_n = string.match(b, '(%d+)-(%d+)')
  if a_ms ~= b_ms then return tonumber(a_ms) < tonumber(b_ms) end
  return tonumber(a_n) < tonumber(b_n)
end
local keep, known = false, {}
for _, group in ipairs(groups(KEYS[1])) do
  known[group['name']] = true
  local first = group['last-delivered-id']
  if group['pending'] > 0 then
    first = redis.call('XPENDING', KEYS[1], group['name'])[2]
  end
  if not keep or before(first, keep) then keep = first end
end
if not keep then return 0 end
for _, name in ipairs(ARGV) do
  if not known[name] then return 0 end
end
return redis.call('XTRIM', KEYS[1], 'MINID', '=', keep)
"""
)

# KEYS: stream. ARGV: group, number of undelivered messages to count at most where the
# server has lost count. Returns undelivered, pending, and the age of the oldest of each in
# ms by the server's own clock, -1 where there is none; nothing if there is no such group.
LAG = (
    _GROUPS
    + """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function age_ms(id) return math.max(0, now_ms - tonumber(string.match(id, '^%d+'))) end
for _, group in ipairs(groups(KEYS[1])) do
  if group['name'] == ARGV[1] then
    local start = '(' .. group['last-delivered-id']
    local next_one = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', 1)[1]
    local undelivered = group['lag']
    if not next_one then undelivered = 0
    elseif not undelivered then
      undelivered = #redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', ARGV[2])
    end
    local oldest = group['pending'] > 0 and redis.call('XPENDING', KEYS[1], ARGV[1])[2]
    return {undelivered, group['pending'],
      next_one and age_ms(next_one[1]) or -1, oldest and age_ms(oldest) or -1}
  end
end
return false
"""
)

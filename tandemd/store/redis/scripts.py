"""The Lua scripts. They know no rules: they compare, write and publish, so that all of it happens or nothing does."""

from __future__ import annotations

import hashlib


class Script:
    """A script, called by its hash."""

    def __init__(self, text: str):
        self.text = text.encode()
        self.sha = hashlib.sha1(self.text).hexdigest().encode()


NOW = "local t = redis.call('TIME') local now = t[1] + t[2] / 1000000 "

TRIM = """
-- Drops the oldest commits of a log beyond a number of bytes, and of commits; the last one stays. returns its bytes
local function trim(log, bytes, most_bytes, most)
  local length = redis.call('XLEN', log)
  if bytes <= most_bytes and length <= most + most / 16 then return bytes end
  most_bytes = most_bytes - most_bytes / 16
  while length > 1 and (bytes > most_bytes or length > most) do
    local gone = {}
    local likely = math.max(length - most, math.ceil((bytes - most_bytes) * length / math.max(bytes, 1)), 1)
    for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', math.min(likely, 100))) do
      if length > 1 and (bytes > most_bytes or length > most) then
        gone[#gone + 1] = entry[1]
        bytes = bytes - #entry[2][2]
        length = length - 1
      end
    end
    redis.call('XDEL', log, unpack(gone))
  end
  if length == 1 then bytes = #redis.call('XRANGE', log, '-', '+')[1][2][2] end -- should the count ever be wrong
  return bytes
end
"""

HELD = """
-- Returns how many bytes of entries the journal holds, and how many entries. counted: the field `journal` of the store.
-- An empty journal sets the count right: one that an older version has written, or that was trimmed by hand, is not counted.
local function held(journal, counted)
  local length = redis.call('XLEN', journal)
  return length > 0 and tonumber(counted or '0') or 0, length
end
"""

COMMIT = Script(
    NOW
    + TRIM
    + HELD
    + """
-- KEYS: room log journal due invites store tombstone places, then mailboxes of members who are out
-- ARGV: 1 expected version ('' if the room is new) 2 new version 3 incarnation 4 not after (s) 5 log length
--   6 channel 7 publication 8 code 9 due ('' for none) 10 invite ('' for none) 11 '1' if the room ends 12 batch id
--   13 room id 14 entries of the journal 15 bytes of the log 16 number of commits 17 number of fields to set 18 '1' if the
--   batch frees memory 19 bytes of the journal
--   then for each commit: stream id, commit, its journal entry ('' for none); then fields and values; then fields to delete
-- returns {'ok', {journal ids}, '1' if the journal was full} or {reason, version in the store, or for 'late' the time}.
--   'turn': it is another node's turn to commit, see TURN.
--   'astray': the store's data is of another incarnation; 'incarnation': only this room is, it is to be revived first
local store = redis.call('HMGET', KEYS[6], 'number', 'journal')
if store[1] ~= ARGV[3] then return {'astray', ''} end
if now > tonumber(ARGV[4]) then return {'late', string.format('%.6f', now)} end
local had = redis.call('HMGET', KEYS[1], 'v', 'i', 'l', 't')
local version = had[1] or ''
if version ~= '' and had[2] ~= ARGV[3] then return {'incarnation', version} end
if version ~= ARGV[1] then return {'conflict', version} end
if had[4] then
  local till, whose = string.match(had[4], '^(%S+) (.*)$')
  if whose ~= KEYS[8] and now < tonumber(till) then return {'turn', version} end
end
local commits, fields = tonumber(ARGV[16]), tonumber(ARGV[17])
local journal, waiting = held(KEYS[3], store[2])
local full = waiting >= tonumber(ARGV[14]) or journal >= tonumber(ARGV[19])
local ids = {}
local at = 20
local bytes = tonumber(had[3] or '0')
-- A full server refuses a script at its first write, if that needs memory, and none after it.
if ARGV[18] == '1' then redis.call('SREM', KEYS[8], '') end
if ARGV[11] == '' then redis.call('SADD', KEYS[8], ARGV[8]) end
if had[4] then redis.call('HDEL', KEYS[1], 't') end
if version == '' then
  redis.call('DEL', KEYS[2]) -- the log of a room that had this code before
elseif not had[3] then -- written before bytes were counted
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do bytes = bytes + #entry[2][2] end
end
for _ = 1, commits do
  redis.call('XADD', KEYS[2], ARGV[at], 'c', ARGV[at + 1], 'b', ARGV[12])
  bytes = bytes + #ARGV[at + 1]
  if ARGV[at + 2] ~= '' and not full then
    ids[#ids + 1] = redis.call('XADD', KEYS[3], '*', 'r', ARGV[13], 'k', ARGV[8], 'c', ARGV[at + 2])
    journal = journal + #ARGV[13] + #ARGV[8] + #ARGV[at + 2]
  end
  at = at + 3
end
if #ids > 0 then redis.call('HSET', KEYS[6], 'journal', string.format('%d', journal)) end
bytes = trim(KEYS[2], bytes, tonumber(ARGV[15]), tonumber(ARGV[5]))
if ARGV[11] == '1' then
  redis.call('DEL', KEYS[1])
  redis.call('SREM', KEYS[8], ARGV[8])
  redis.call('EXPIRE', KEYS[2], 600)
  redis.call('ZREM', KEYS[4], ARGV[8])
  redis.call('SET', KEYS[7], ARGV[13], 'EX', 86400)
  if ARGV[10] ~= '' then redis.call('HDEL', KEYS[5], ARGV[10]) end
else
  redis.call('HSET', KEYS[1], 'v', ARGV[2], 'i', ARGV[3], 'l', string.format('%d', bytes), unpack(ARGV, at, at + 2 * fields - 1))
  for i = at + 2 * fields, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
  for i = 9, #KEYS do redis.call('DEL', KEYS[i]) end
  if ARGV[9] ~= '' then redis.call('ZADD', KEYS[4], ARGV[9], ARGV[8]) else redis.call('ZREM', KEYS[4], ARGV[8]) end
  if version == '' and ARGV[10] ~= '' then redis.call('HSET', KEYS[5], ARGV[10], ARGV[8]) end
end
redis.call('PUBLISH', ARGV[6], ARGV[7])
return {'ok', ids, full and '1' or ''}
"""
)

TURN = Script(
    NOW
    + """
-- KEYS: room, places of the node. ARGV: seconds.
-- Lets only this node commit to the room, once or until the time is over, unless it is another node's turn.
local turn = redis.call('HGET', KEYS[1], 't')
if turn then
  local till, whose = string.match(turn, '^(%S+) (.*)$')
  if whose ~= KEYS[2] and now < tonumber(till) then return 0 end
end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 't', string.format('%.6f ', now + tonumber(ARGV[1])) .. KEYS[2])
return 1
"""
)

SHORTEN = Script(
    TRIM
    + """
-- KEYS: room log. ARGV: bytes and number of the commits that the log keeps. The first write is one that a full server carries
-- out. returns the bytes of the log
local had = redis.call('HGET', KEYS[1], 'l')
if not had then return 0 end
redis.call('HDEL', KEYS[1], '')
local bytes = trim(KEYS[2], tonumber(had), tonumber(ARGV[1]), tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], 'l', string.format('%d', bytes))
return bytes
"""
)

OPEN_INCARNATION = Script(
    NOW
    + """
-- KEYS: store. ARGV: run_id, seconds in which rooms may be offered, the same if there is no data at all, channel, the most
--   of these seconds, seconds without a sign of life of any node after which there is none.
-- Opens a new incarnation, and announces it, if the server is another than the one that the data was written under. It
-- always writes: that shows whether the server lets us. The first write is one that a full server carries out.
-- returns {number, seconds after which it opens, now, '1' if there was no data at all, server time for a node that has none}
redis.call('HDEL', KEYS[1], 'entered')
local fresh = ''
if redis.call('HGET', KEYS[1], 'run_id') ~= ARGV[1] then
  local seconds = tonumber(ARGV[2])
  if redis.call('EXISTS', KEYS[1]) == 0 then fresh, seconds = '1', tonumber(ARGV[3]) end
  local number = math.max((tonumber(redis.call('HGET', KEYS[1], 'number') or '0') + 1), math.floor(now * 1000))
  number = string.format('%d', number)
  redis.call('HSET', KEYS[1], 'run_id', ARGV[1], 'number', number,
    'opens', string.format('%.6f', now + seconds), 'floor', string.format('%.6f', now))
  redis.call('PUBLISH', ARGV[4], number)
end
redis.call('HSET', KEYS[1], 'entered', string.format('%.6f', now))
local got = redis.call('HMGET', KEYS[1], 'number', 'opens', 'time', 'told')
local shared, elapsed = tonumber(got[3] or '0'), now - tonumber(got[4] or '0')
if elapsed >= 0 and elapsed < tonumber(ARGV[6]) then
  shared = shared + elapsed -- that of the other nodes
else
  shared = math.max(shared, now) -- nothing that was stored is of a later time
end
local left = tonumber(got[2] or '0') - now
if left > tonumber(ARGV[5]) then left = 0 end -- the clock was set back since
return {got[1], string.format('%.6f', left), string.format('%.6f', now), fresh, string.format('%.6f', shared)}
"""
)

RESEED = Script(
    NOW
    + TRIM
    + """
-- KEYS: room log invites due tombstone nodes, then the places of nodes that the room's members are connected to
-- ARGV: 1 room id 2 epoch 3 seq 4 code 5 invite 6 due ('' for none) 7 log length 8 '1' if only where there is none
--   9 bytes of the log 10 number of those nodes; then their names; then the number of commits; then stream id and commit
--   of each; then the room's fields and values
-- Replaces the room by what a node holds, if that is newer. returns 1 if it did, 0 if not, -1 if the room has ended
if redis.call('GET', KEYS[5]) == ARGV[1] then return -1 end
local nodes = tonumber(ARGV[10])
local at = 11 + nodes
local version = redis.call('HGET', KEYS[1], 'v')
local newer = true
if version then
  local id, epoch, seq = string.match(version, '^(.*):(%d+):(%d+)$')
  epoch, seq = tonumber(epoch), tonumber(seq)
  local mine, count = tonumber(ARGV[2]), tonumber(ARGV[3])
  newer = ARGV[8] == '' and (mine > epoch or (mine == epoch and count > seq))
  if id ~= ARGV[1] and not newer then return 0 end
end
-- Also a full server gets its rooms back, or they could not end: the first write is one that it carries out.
redis.call('HDEL', KEYS[1], '')
-- Should such a node be dead, it will be missed: somebody will take over its members.
for i = 1, nodes do
  redis.call('SADD', KEYS[6 + i], ARGV[4])
  redis.call('ZADD', KEYS[6], 'NX', string.format('%.6f', now), ARGV[10 + i])
end
if not newer then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
local commits = tonumber(ARGV[at])
at = at + 1
local bytes = 0
for _ = 1, commits do
  redis.call('XADD', KEYS[2], ARGV[at], 'c', ARGV[at + 1], 'b', '')
  bytes = bytes + #ARGV[at + 1]
  at = at + 2
end
bytes = trim(KEYS[2], bytes, tonumber(ARGV[9]), tonumber(ARGV[7]))
redis.call('HSET', KEYS[1], 'v', ARGV[1] .. ':' .. ARGV[2] .. ':' .. ARGV[3], 'i', '', 'l', string.format('%d', bytes))
for first = at, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[3], ARGV[5], ARGV[4]) end
if ARGV[6] ~= '' then redis.call('ZADD', KEYS[4], ARGV[6], ARGV[4]) end
return 1
"""
)

LOAD_ROOM = Script(
    NOW
    + """
-- KEYS: room store. ARGV: channel, incarnation, seconds in which rooms may be offered.
-- Gives a room that was written under an older incarnation a new epoch, and returns all its fields. Other returns: {} if
-- it is not there, {'none', ''} if it is nowhere: the store has all rooms of the archive; {'wait', seconds}
-- while rooms are offered, {'astray', ''} if the store is of another incarnation.
local number = redis.call('HGET', KEYS[2], 'number')
if number ~= ARGV[2] then return {'astray', ''} end
local had = redis.call('HMGET', KEYS[1], 'v', 'i')
if not had[1] then
  if redis.call('HGET', KEYS[2], 'complete') == number then return {'none', ''} end
  return {}
end
if had[2] ~= number then
  local opens = tonumber(redis.call('HGET', KEYS[2], 'opens') or '0')
  local left = opens - now
  if left > 0 and left <= tonumber(ARGV[3]) then return {'wait', string.format('%.6f', left)} end -- else it was set back
  local id, epoch, seq = string.match(had[1], '^(.*):(%d+):(%d+)$')
  epoch = math.max(tonumber(epoch) + 1, math.floor(now * 1000))
  redis.call('HDEL', KEYS[1], '') -- so that a full server carries out the rest: rooms must end there, too
  redis.call('HSET', KEYS[1], 'v', id .. ':' .. string.format('%d', epoch) .. ':' .. seq, 'i', number)
  redis.call('PUBLISH', ARGV[1], 'e')
end
return redis.call('HGETALL', KEYS[1])
"""
)

COMPLETE = Script(
    """
-- KEYS: store. ARGV: incarnation.
-- Notes that the store has all rooms of the archive. It stays so as long as the incarnation lasts: whatever gets into the
-- archive was here before. returns 1 if it did, 0 if the store is of another incarnation
if redis.call('HGET', KEYS[1], 'number') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'complete', ARGV[1])
return 1
"""
)

RELAY = Script(
    """
-- KEYS: mailbox. ARGV: letter, how many are kept, seconds they are kept, channel, publication, bytes of a mailbox
-- Each letter is followed by 16 digits: how many bytes had been put there with it. What lies between the first and the last is
-- what the mailbox holds, or somewhat more. returns 1, or 0 if the letter does not fit
local sum = #ARGV[1]
local last = redis.call('LRANGE', KEYS[1], -1, -1)[1]
if last then
  local first = redis.call('LRANGE', KEYS[1], 0, 0)[1]
  sum = sum + tonumber(string.sub(last, -16))
  if sum - tonumber(string.sub(first, -16)) + #first - 16 > tonumber(ARGV[6]) then return 0 end
elseif sum > tonumber(ARGV[6]) then
  return 0
end
redis.call('RPUSH', KEYS[1], ARGV[1] .. string.format('%016d', sum))
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[2]), -1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
"""
)

READ_MAILBOX = Script(
    """
-- KEYS: mailbox. ARGV: length of a letter's name, then the names of letters that were handed over.
-- Takes those out. returns the others, which stay
local length, over, left = tonumber(ARGV[1]), {}, {}
for i = 2, #ARGV do over[ARGV[i]] = true end
for _, letter in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if over[string.sub(letter, 1, length)] then
    redis.call('LREM', KEYS[1], 1, letter)
  else
    left[#left + 1] = string.sub(letter, 1, -17)
  end
end
return left
"""
)

RESHAPE = Script(
    """
-- KEYS: room. ARGV: version, then the room's fields and values.
-- Writes a room whose bars, delegates and departed members were stored in one field each with one field for every one of
-- them, and one whose title was stored in `playback` with a field for that.
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
if redis.call('HDEL', KEYS[1], 'moderation', 'departed') == 0 and redis.call('HGET', KEYS[1], 'url') then return 0 end
for first = 2, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
return 1
"""
)

HEADS = Script(
    """
-- KEYS: rooms. returns their versions, '' for one that is not there
local versions = {}
for i = 1, #KEYS do versions[i] = redis.call('HGET', KEYS[i], 'v') or '' end
return versions
"""
)

NODE_HEARTBEAT = Script(
    NOW
    + """
-- KEYS: nodes store. ARGV: own name, seconds after which a node without a sign of life is dead, seconds without one of
--   anybody after which the store must have been away, own server time
-- When it was away, grace periods begin anew, and all nodes have the same time as ever to give their next sign.
-- returns {now, floor of grace periods, incarnation, dead nodes, how many are alive}
redis.call('ZREM', KEYS[1], '') -- a full server carries this out, and what comes after it
local at = string.format('%.6f', now)
-- Signs of life of a later time: Redis' clock was set back.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. at, '+inf')) do redis.call('ZADD', KEYS[1], at, name) end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] and now - tonumber(last[2]) > tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[2], 'floor', at)
  for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], at, name) end
end
redis.call('ZADD', KEYS[1], at, ARGV[1])
local got = redis.call('HMGET', KEYS[2], 'floor', 'number')
if got[2] then redis.call('HSET', KEYS[2], 'time', ARGV[4], 'told', at) end
local dead = string.format('%.6f', now - tonumber(ARGV[2]))
return {at, got[1] or '0', got[2] or '', redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. dead),
  redis.call('ZCOUNT', KEYS[1], dead, '+inf')}
"""
)

TAKE = Script(
    NOW
    + """
-- KEYS: budgets, marks and shares. ARGV: 1 beginning of rooms' keys 2 seconds after which to ask again for a share
--   3 seconds in a day; then for each way: number of needs, then for each of these five:
--   number of the key, 'b' interval room per, 'm' '' '' '', or 's' code most ''
-- Takes the first way of which everything can be had. returns {its number from 0, '', 0, 0}, or {-1, seconds to wait, number
-- of the key of what is lacking, number of the way that will be open first}
local function till(key, per) -- when the budget is full again; later than `per` from now only if the clock was set back
  return math.min(math.max(tonumber(redis.call('GET', key) or '0'), now), now + tonumber(per))
end
local best, lacking, nearest, at, way = nil, 0, 0, 4, 0
while at <= #ARGV do
  local first, count, wait, short = at + 1, tonumber(ARGV[at]), 0, 0
  for need = 0, count - 1 do
    local i = first + 5 * need
    local number, needed = tonumber(ARGV[i]), 0
    local key = KEYS[number]
    if ARGV[i + 1] == 'b' then
      needed = till(key, ARGV[i + 4]) + tonumber(ARGV[i + 2]) - tonumber(ARGV[i + 3]) - now
      if needed < 0.000002 then needed = 0 end
    elseif ARGV[i + 1] == 'm' then
      if redis.call('EXISTS', key) == 0 then needed = tonumber(ARGV[3]) end
    elseif redis.call('SCARD', key) >= tonumber(ARGV[i + 3]) and redis.call('SISMEMBER', key, ARGV[i + 2]) == 0 then
      for _, code in ipairs(redis.call('SMEMBERS', key)) do
        if redis.call('EXISTS', ARGV[1] .. code) == 0 then redis.call('SREM', key, code) end
      end
      if redis.call('SCARD', key) >= tonumber(ARGV[i + 3]) then needed = tonumber(ARGV[2]) end
    end
    if needed > wait then wait, short = needed, number end
  end
  if wait == 0 then
    for need = 0, count - 1 do
      local i = first + 5 * need
      local key = KEYS[tonumber(ARGV[i])]
      if ARGV[i + 1] == 'b' then
        local full = till(key, ARGV[i + 4]) + tonumber(ARGV[i + 2])
        redis.call('SET', key, string.format('%.6f', full), 'PX', math.ceil((full - now) * 1000))
      elseif ARGV[i + 1] == 's' then
        redis.call('SADD', key, ARGV[i + 2])
        redis.call('EXPIRE', key, ARGV[3])
      end
    end
    return {way, '', 0, 0}
  end
  if best == nil or wait < best then best, lacking, nearest = wait, short, way end
  way, at = way + 1, first + 5 * count
end
return {-1, string.format('%.6f', best), lacking, nearest}
"""
)

GIVE_BACK = Script(
    NOW
    + """
-- KEYS: budgets and shares. ARGV: for each key 'b' and its interval, or 's' and the code
for i, key in ipairs(KEYS) do
  if ARGV[2 * i - 1] == 's' then
    redis.call('SREM', key, ARGV[2 * i])
  else
    local till = tonumber(redis.call('GET', key) or '0') - tonumber(ARGV[2 * i])
    if till - now > 0.001 then
      redis.call('SET', key, string.format('%.6f', till), 'PX', math.ceil((till - now) * 1000))
    else
      redis.call('DEL', key)
    end
  end
end
return 1
"""
)

PUT = Script(
    HELD
    + """
-- KEYS: journal store. ARGV: entries and bytes of the journal, room id, code, commit.
-- Puts an entry into the journal. returns its id, '' if the journal is full
local counted = redis.call('HGET', KEYS[2], 'journal')
local bytes, length = held(KEYS[1], counted)
if length >= tonumber(ARGV[1]) or bytes >= tonumber(ARGV[2]) then return '' end
local id = redis.call('XADD', KEYS[1], '*', 'r', ARGV[3], 'k', ARGV[4], 'c', ARGV[5])
if redis.call('EXISTS', KEYS[2]) == 1 then -- a server that has lost its data gets this field no sooner than an incarnation
  redis.call('HSET', KEYS[2], 'journal', string.format('%d', bytes + #ARGV[3] + #ARGV[4] + #ARGV[5]))
end
return id
"""
)

ARCHIVED = Script(
    HELD
    + """
-- KEYS: journal store. ARGV: group, number of entries that the archive has, their ids, their bytes
-- What is acknowledged and not deleted would stay for ever: nobody gets it again.
local number, gone = tonumber(ARGV[2]), 0
for i = 3, number + 2 do
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then gone = gone + tonumber(ARGV[i + number]) end
end
redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 3, number + 2))
local counted = redis.call('HGET', KEYS[2], 'journal')
if counted then
  local bytes = held(KEYS[1], counted)
  redis.call('HSET', KEYS[2], 'journal', string.format('%d', math.max(bytes - gone, 0)))
end
return 1
"""
)

PROBE = Script(
    """
-- KEYS: one that holds nothing. ARGV: a channel.
-- Tries every command that is used later, here or by itself: a script that is stopped halfway leaves half of its work.
-- returns the names of those that the user may not use
local key = KEYS[1]
local missing = {}
for _, words in ipairs({
  {'SET', key, '', 'EX', '60'}, {'GET', key}, {'EXISTS', key}, {'EXPIRE', key, '60'},
  {'HSET', key, 'f', ''}, {'HGET', key, 'f'}, {'HMGET', key, 'f'}, {'HGETALL', key}, {'HLEN', key},
  {'HDEL', key, 'f'},
  {'SADD', key, 'm'}, {'SCARD', key}, {'SISMEMBER', key, 'm'}, {'SMEMBERS', key}, {'SREM', key, 'm'},
  {'ZADD', key, '1', 'm'}, {'ZRANGE', key, '0', '0'}, {'ZRANGEBYSCORE', key, '0', '1'}, {'ZCOUNT', key, '0', '1'},
  {'ZREM', key, 'm'}, {'RPUSH', key, ''}, {'LTRIM', key, '0', '0'}, {'LRANGE', key, '0', '0'}, {'LREM', key, '1', ''},
  {'XADD', key, '*', 'f', ''}, {'XLEN', key}, {'XTRIM', key, 'MAXLEN', '1'}, {'XRANGE', key, '-', '+'},
  {'XREVRANGE', key, '+', '-'}, {'XGROUP', 'CREATE', key, 'g', '0'},
  {'XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', key, '>'}, {'XAUTOCLAIM', key, 'g', 'c', '0', '0'},
  {'XINFO', 'CONSUMERS', key, 'g'}, {'XACK', key, 'g', '0-1'}, {'XDEL', key, '0-1'},
  {'PUBLISH', ARGV[1], ''}, {'TIME'}, {'PING'}, {'DEL', key},
}) do
  local answer = redis.pcall(unpack(words))
  local wrong = type(answer) == 'table' and answer.err or ''
  if string.find(wrong, 'NOPERM') or string.find(wrong, 'executing the script') then missing[#missing + 1] = words[1] end
end
return missing
"""
)

SCRIPTS = (
    PROBE, COMMIT, TURN, SHORTEN, OPEN_INCARNATION, RESEED, LOAD_ROOM, RESHAPE, COMPLETE, RELAY, READ_MAILBOX, HEADS,
    NODE_HEARTBEAT, TAKE, GIVE_BACK, PUT, ARCHIVED,
)  # fmt: skip

-- Append the commits of a batch to a room, all or none.
--@keys room_key log_key journal_key due_key invites_key store_key ended_key places_key ...
--@arguments expected_version new_version incarnation not_after channel publication batch room_id room_uuid invite due_at ends
--@arguments frees_memory log_length log_bytes max_journal_entries max_journal_bytes commit_count field_count ...
-- Further keys: mailboxes of members that leave.
-- expected_version, invite, due_at, ends, frees_memory: '' for none or no. not_after: the time, in s, after which it is too late.
-- Further arguments: for each commit the stream id, the commit and its journal entry ('' for none); then fields and values
--   to set; then fields to delete.
-- Return {'ok', {journal ids}, '1' if the journal was full}, or {reason, version in the store}. Reasons:
--   'conflict'     the room is at another version
--   'turn'         only another node may commit now, see turn.lua
--   'late'         not_after has passed; the time replaces the version
--   'astray'       the store has another incarnation
--   'incarnation'  the room has another incarnation; load_room.lua must renew it first
--@include now
--@include trim
--@include journal_size
local store = redis.call('HMGET', store_key, 'number', 'journal')
if store[1] ~= incarnation then return {'astray', ''} end
if now > tonumber(not_after) then return {'late', string.format('%.6f', now)} end
local stored = redis.call('HMGET', room_key, 'v', 'i', 'l', 't')
local version, stored_incarnation, stored_bytes, turn = stored[1] or '', stored[2], stored[3], stored[4]
if version ~= '' and stored_incarnation ~= incarnation then return {'incarnation', version} end
if version ~= expected_version then return {'conflict', version} end
if turn then
  local till, owner = string.match(turn, '^(%S+) (.*)$')
  if owner ~= places_key and now < tonumber(till) then return {'turn', version} end
end
local journal, entries = journal_size(journal_key, store[2])
local full = entries >= tonumber(max_journal_entries) or journal >= tonumber(max_journal_bytes)
local ids = {}
local bytes = tonumber(stored_bytes or '0')
-- A full server refuses a script at its first write, if that write needs memory, and none after it.
if frees_memory == '1' then redis.call('SREM', places_key, '') end
if ends == '' then redis.call('SADD', places_key, room_id) end
if turn then redis.call('HDEL', room_key, 't') end
if version == '' then
  redis.call('DEL', log_key) -- the log of an earlier room with this room id
elseif not stored_bytes then -- an older version, which did not count bytes, has written the room
  for _, entry in ipairs(redis.call('XRANGE', log_key, '-', '+')) do bytes = bytes + #entry[2][2] end
end
local at = rest
for _ = 1, tonumber(commit_count) do
  local stream_id, commit, entry = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  redis.call('XADD', log_key, stream_id, 'c', commit, 'b', batch)
  bytes = bytes + #commit
  if entry ~= '' and not full then
    ids[#ids + 1] = redis.call('XADD', journal_key, '*', 'r', room_uuid, 'k', room_id, 'c', entry)
    journal = journal + #room_uuid + #room_id + #entry
  end
  at = at + 3
end
if #ids > 0 then redis.call('HSET', store_key, 'journal', string.format('%d', journal)) end
bytes = trim(log_key, bytes, tonumber(log_bytes), tonumber(log_length))
if ends == '1' then
  redis.call('DEL', room_key)
  redis.call('SREM', places_key, room_id)
  redis.call('EXPIRE', log_key, 600)
  redis.call('ZREM', due_key, room_id)
  redis.call('SET', ended_key, room_uuid, 'EX', 86400)
  if invite ~= '' then redis.call('HDEL', invites_key, invite) end
else
  local deleted = at + 2 * tonumber(field_count)
  redis.call('HSET', room_key, 'v', new_version, 'i', incarnation, 'l', string.format('%d', bytes),
    unpack(ARGV, at, deleted - 1))
  for i = deleted, #ARGV do redis.call('HDEL', room_key, ARGV[i]) end
  for i = rest_keys, #KEYS do redis.call('DEL', KEYS[i]) end
  if due_at ~= '' then redis.call('ZADD', due_key, due_at, room_id) else redis.call('ZREM', due_key, room_id) end
  if version == '' and invite ~= '' then redis.call('HSET', invites_key, invite, room_id) end
end
redis.call('PUBLISH', channel, publication)
return {'ok', ids, full and '1' or ''}

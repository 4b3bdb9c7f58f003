-- Replace a room by a node's replica, if the replica is newer.
--@keys room_key log_key invites_key due_key ended_key nodes_key ...
--@arguments room_uuid epoch seq room_id invite due_at log_length only_absent log_bytes node_count ...
-- Further keys: the places of nodes with connections of the room's members.
-- invite, due_at: '' for none. only_absent: '1' to keep an existing room.
-- Further arguments: the names of these nodes; the number of commits; for each commit its stream id and the commit; then the
--   room's fields and values.
-- Return 1 if the room was replaced, 0 if not, -1 if the room has ended.
--@include now
--@include trim
if redis.call('GET', ended_key) == room_uuid then return -1 end
local nodes = tonumber(node_count)
local version = redis.call('HGET', room_key, 'v')
local newer = true
if version then
  local stored_uuid, stored_epoch, stored_seq = string.match(version, '^(.*):(%d+):(%d+)$')
  stored_epoch, stored_seq = tonumber(stored_epoch), tonumber(stored_seq)
  local own_epoch, own_seq = tonumber(epoch), tonumber(seq)
  newer = only_absent == '' and (own_epoch > stored_epoch or (own_epoch == stored_epoch and own_seq > stored_seq))
  if stored_uuid ~= room_uuid and not newer then return 0 end
end
-- A full server must take its rooms back, too, so that they can end. It accepts this first write.
redis.call('HDEL', room_key, '')
-- If one of these nodes is dead, the missing heartbeat starts the grace period of its members.
for i = 0, nodes - 1 do
  redis.call('SADD', KEYS[rest_keys + i], room_id)
  redis.call('ZADD', nodes_key, 'NX', string.format('%.6f', now), ARGV[rest + i])
end
if not newer then return 0 end
redis.call('DEL', room_key, log_key)
local at = rest + nodes
local commits = tonumber(ARGV[at])
at = at + 1
local bytes = 0
for _ = 1, commits do
  redis.call('XADD', log_key, ARGV[at], 'c', ARGV[at + 1], 'b', '')
  bytes = bytes + #ARGV[at + 1]
  at = at + 2
end
bytes = trim(log_key, bytes, tonumber(log_bytes), tonumber(log_length))
redis.call('HSET', room_key, 'v', room_uuid .. ':' .. epoch .. ':' .. seq, 'i', '', 'l', string.format('%d', bytes))
for first = at, #ARGV, 1000 do
  redis.call('HSET', room_key, unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
if invite ~= '' then redis.call('HSET', invites_key, invite, room_id) end
if due_at ~= '' then redis.call('ZADD', due_key, due_at, room_id) end
return 1

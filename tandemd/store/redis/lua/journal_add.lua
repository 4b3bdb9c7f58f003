-- Append an entry to the journal. Return its id, or '' if the journal is full.
--@keys journal_key store_key
--@arguments max_entries max_bytes room_uuid room_id entry
--@include journal_size
local bytes, length = journal_size(journal_key, redis.call('HGET', store_key, 'journal'))
if length >= tonumber(max_entries) or bytes >= tonumber(max_bytes) then return '' end
local id = redis.call('XADD', journal_key, '*', 'r', room_uuid, 'k', room_id, 'c', entry)
if redis.call('EXISTS', store_key) == 1 then -- a server that has lost its data gets the incarnation before this field
  redis.call('HSET', store_key, 'journal', string.format('%d', bytes + #room_uuid + #room_id + #entry))
end
return id

-- Remove archived entries from the journal. Acknowledged entries must be deleted, because no consumer receives them again.
--@keys journal_key store_key
--@arguments group count ...
-- Further arguments: the ids of the entries, then their bytes.
--@include journal_size
local number, removed = tonumber(count), 0
for i = rest, rest + number - 1 do
  if redis.call('XDEL', journal_key, ARGV[i]) == 1 then removed = removed + tonumber(ARGV[i + number]) end
end
redis.call('XACK', journal_key, group, unpack(ARGV, rest, rest + number - 1))
local counted = redis.call('HGET', store_key, 'journal')
if counted then
  local bytes = journal_size(journal_key, counted)
  redis.call('HSET', store_key, 'journal', string.format('%d', math.max(bytes - removed, 0)))
end
return 1

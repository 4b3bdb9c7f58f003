-- Rewrite a room of an older form: bans, delegates and departed members get a field each, and the title leaves `playback`.
--@keys room_key
--@arguments version ...
-- Further arguments: the room's fields and values.
-- Return 1, or 0 if the room has another version or already has the new form.
if redis.call('HGET', room_key, 'v') ~= version then return 0 end
if redis.call('HDEL', room_key, 'moderation', 'departed') == 0 and redis.call('HGET', room_key, 'url') then return 0 end
for first = rest, #ARGV, 1000 do
  redis.call('HSET', room_key, unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
return 1

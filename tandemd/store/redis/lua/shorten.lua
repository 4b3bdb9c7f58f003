-- Shorten the log of a room. Return its bytes.
--@keys room_key log_key
--@arguments log_bytes log_length
--@include trim
local stored_bytes = redis.call('HGET', room_key, 'l')
if not stored_bytes then return 0 end
redis.call('HDEL', room_key, '') -- a full server accepts this first write, and the following ones
local bytes = trim(log_key, tonumber(stored_bytes), tonumber(log_bytes), tonumber(log_length))
redis.call('HSET', room_key, 'l', string.format('%d', bytes))
return bytes

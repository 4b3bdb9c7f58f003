-- Return all fields of a room. Give a room of an older incarnation a new epoch first.
--@keys room_key store_key
--@arguments channel incarnation max_offer_seconds
-- Other returns: {} if the store does not have the room; {'none', ''} if the room does not exist, because the store has all rooms
--   of the archive; {'wait', seconds} while nodes offer rooms; {'astray', ''} if the store has another incarnation.
--@include now
local number = redis.call('HGET', store_key, 'number')
if number ~= incarnation then return {'astray', ''} end
local stored = redis.call('HMGET', room_key, 'v', 'i')
if not stored[1] then
  if redis.call('HGET', store_key, 'complete') == number then return {'none', ''} end
  return {}
end
if stored[2] ~= number then
  local opens = tonumber(redis.call('HGET', store_key, 'opens') or '0')
  local left = opens - now
  -- More seconds than that mean that the clock has been set back.
  if left > 0 and left <= tonumber(max_offer_seconds) then return {'wait', string.format('%.6f', left)} end
  local id, epoch, seq = string.match(stored[1], '^(.*):(%d+):(%d+)$')
  epoch = math.max(tonumber(epoch) + 1, math.floor(now * 1000))
  redis.call('HDEL', room_key, '') -- a full server accepts this first write and the rest, so that rooms can end there
  redis.call('HSET', room_key, 'v', id .. ':' .. string.format('%d', epoch) .. ':' .. seq, 'i', number)
  redis.call('PUBLISH', channel, 'e')
end
return redis.call('HGETALL', room_key)

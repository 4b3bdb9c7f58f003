-- Open and announce a new incarnation, if another server process has written the data.
--@keys store_key
--@arguments run_id offer_seconds offer_seconds_if_empty channel max_offer_seconds away_seconds
-- offer_seconds: how long nodes may offer rooms; offer_seconds_if_empty: the same for a server without data;
--   max_offer_seconds: the longest of these times. away_seconds: without a heartbeat for so long, all nodes are dead.
-- Return {number, seconds until it opens, now, '1' if the server had no data, server time for a node that has none}.
--@include now
-- The script always writes, so that it detects a server that refuses writes. A full server accepts this first write.
redis.call('HDEL', store_key, 'entered')
local fresh = ''
if redis.call('HGET', store_key, 'run_id') ~= run_id then
  local seconds = tonumber(offer_seconds)
  if redis.call('EXISTS', store_key) == 0 then fresh, seconds = '1', tonumber(offer_seconds_if_empty) end
  local number = math.max((tonumber(redis.call('HGET', store_key, 'number') or '0') + 1), math.floor(now * 1000))
  number = string.format('%d', number)
  redis.call('HSET', store_key, 'run_id', run_id, 'number', number,
    'opens', string.format('%.6f', now + seconds), 'floor', string.format('%.6f', now))
  redis.call('PUBLISH', channel, number)
end
redis.call('HSET', store_key, 'entered', string.format('%.6f', now))
local store = redis.call('HMGET', store_key, 'number', 'opens', 'time', 'told')
local number, opens, time, told = store[1], store[2], store[3], store[4]
local shared, elapsed = tonumber(time or '0'), now - tonumber(told or '0')
if elapsed >= 0 and elapsed < tonumber(away_seconds) then
  shared = shared + elapsed -- the time of the other nodes
else
  shared = math.max(shared, now) -- stored data is not of a later time
end
local left = tonumber(opens or '0') - now
if left > tonumber(max_offer_seconds) then left = 0 end -- the clock has been set back since
return {number, string.format('%.6f', left), string.format('%.6f', now), fresh, string.format('%.6f', shared)}

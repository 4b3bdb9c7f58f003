-- Record a heartbeat of a node.
--@keys nodes_key store_key
--@arguments node dead_seconds away_seconds server_time
-- dead_seconds: without a heartbeat for so long, a node is dead. away_seconds: without a heartbeat of any node for so long, the
-- store itself was away. Then grace periods start again, and every node gets the full time for its next heartbeat.
-- Return {now, floor of grace periods, incarnation, dead nodes, number of living nodes}.
--@include now
redis.call('ZREM', nodes_key, '') -- a full server accepts this first write, and the following ones
local at = string.format('%.6f', now)
-- Heartbeats of a later time: Redis' clock was set back.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', nodes_key, '(' .. at, '+inf')) do
  redis.call('ZADD', nodes_key, at, name)
end
local last = redis.call('ZRANGE', nodes_key, -1, -1, 'WITHSCORES')
if last[2] and now - tonumber(last[2]) > tonumber(away_seconds) then
  redis.call('HSET', store_key, 'floor', at)
  for _, name in ipairs(redis.call('ZRANGE', nodes_key, 0, -1)) do redis.call('ZADD', nodes_key, at, name) end
end
redis.call('ZADD', nodes_key, at, node)
local store = redis.call('HMGET', store_key, 'floor', 'number')
if store[2] then redis.call('HSET', store_key, 'time', server_time, 'told', at) end
local limit = string.format('%.6f', now - tonumber(dead_seconds))
return {at, store[1] or '0', store[2] or '', redis.call('ZRANGEBYSCORE', nodes_key, '-inf', '(' .. limit),
  redis.call('ZCOUNT', nodes_key, limit, '+inf')}

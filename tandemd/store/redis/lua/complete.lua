-- Record that the store has all rooms of the archive. This holds for the whole incarnation, because later rooms of the archive
-- were in the store before.
--@keys store_key
--@arguments incarnation
-- Return 1, or 0 if the store has another incarnation.
if redis.call('HGET', store_key, 'number') ~= incarnation then return 0 end
redis.call('HSET', store_key, 'complete', incarnation)
return 1

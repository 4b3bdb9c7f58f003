-- Return the versions of rooms, '' for a missing room.
--@keys ...
--@arguments
local versions = {}
for i = 1, #KEYS do versions[i] = redis.call('HGET', KEYS[i], 'v') or '' end
return versions

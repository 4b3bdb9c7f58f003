-- Remove a room from the places of a node, if it does not exist.
--@keys room_key places_key
--@arguments room_id
-- Another node may restore it at any time, with members of this node.
if redis.call('EXISTS', room_key) == 0 then redis.call('SREM', places_key, room_id) end
return 1

-- Reserve a room for commits of this node, for one commit or until the time is over, unless another node has reserved it.
--@keys room_key places_key
--@arguments seconds
-- Return 1 if the room is reserved, else 0.
--@include now
local turn = redis.call('HGET', room_key, 't')
if turn then
  local till, owner = string.match(turn, '^(%S+) (.*)$')
  if owner ~= places_key and now < tonumber(till) then return 0 end
end
if redis.call('EXISTS', room_key) == 0 then return 0 end
redis.call('HSET', room_key, 't', string.format('%.6f ', now + tonumber(seconds)) .. places_key)
return 1

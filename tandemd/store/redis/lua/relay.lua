-- Append a message to a mailbox, and publish it.
--@keys mailbox_key
--@arguments message max_messages keep_seconds channel publication max_bytes
-- After each message, 16 digits tell the bytes that were put into the mailbox up to it. The difference between the last and the
-- first message is the size of the mailbox, or somewhat more.
-- Return 1, or 0 if the message does not fit.
local sum = #message
local last = redis.call('LRANGE', mailbox_key, -1, -1)[1]
if last then
  local first = redis.call('LRANGE', mailbox_key, 0, 0)[1]
  sum = sum + tonumber(string.sub(last, -16))
  if sum - tonumber(string.sub(first, -16)) + #first - 16 > tonumber(max_bytes) then return 0 end
elseif sum > tonumber(max_bytes) then
  return 0
end
redis.call('RPUSH', mailbox_key, message .. string.format('%016d', sum))
redis.call('LTRIM', mailbox_key, -tonumber(max_messages), -1)
redis.call('EXPIRE', mailbox_key, keep_seconds)
redis.call('PUBLISH', channel, publication)
return 1

-- Remove delivered messages from a mailbox, and return the others, which stay in it.
--@keys mailbox_key
--@arguments id_bytes ...
-- id_bytes: the length of a message id, the beginning of each message. Further arguments: ids of delivered messages.
local length, delivered, left = tonumber(id_bytes), {}, {}
for i = rest, #ARGV do delivered[ARGV[i]] = true end
for _, message in ipairs(redis.call('LRANGE', mailbox_key, 0, -1)) do
  if delivered[string.sub(message, 1, length)] then
    redis.call('LREM', mailbox_key, 1, message)
  else
    left[#left + 1] = string.sub(message, 1, -17)
  end
end
return left

-- Try each command that the store uses, because a script that fails halfway leaves half of its work.
--@keys key
--@arguments channel
-- key: holds nothing. Return the commands that the user may not use.
local missing = {}
for _, words in ipairs({
  {'SET', key, '', 'EX', '60'}, {'GET', key}, {'EXISTS', key}, {'EXPIRE', key, '60'},
  {'HSET', key, 'f', ''}, {'HGET', key, 'f'}, {'HMGET', key, 'f'}, {'HGETALL', key}, {'HLEN', key},
  {'HDEL', key, 'f'},
  {'SADD', key, 'm'}, {'SCARD', key}, {'SISMEMBER', key, 'm'}, {'SMEMBERS', key}, {'SREM', key, 'm'},
  {'ZADD', key, '1', 'm'}, {'ZRANGE', key, '0', '0'}, {'ZRANGEBYSCORE', key, '0', '1'}, {'ZCOUNT', key, '0', '1'},
  {'ZREM', key, 'm'}, {'RPUSH', key, ''}, {'LTRIM', key, '0', '0'}, {'LRANGE', key, '0', '0'}, {'LREM', key, '1', ''},
  {'XADD', key, '*', 'f', ''}, {'XLEN', key}, {'XTRIM', key, 'MAXLEN', '1'}, {'XRANGE', key, '-', '+'},
  {'XREVRANGE', key, '+', '-'}, {'XGROUP', 'CREATE', key, 'g', '0'},
  {'XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', key, '>'}, {'XAUTOCLAIM', key, 'g', 'c', '0', '0'},
  {'XINFO', 'CONSUMERS', key, 'g'}, {'XACK', key, 'g', '0-1'}, {'XDEL', key, '0-1'},
  {'PUBLISH', channel, ''}, {'TIME'}, {'PING'}, {'DEL', key},
}) do
  local answer = redis.pcall(unpack(words))
  local wrong = type(answer) == 'table' and answer.err or ''
  if string.find(wrong, 'NOPERM') or string.find(wrong, 'executing the script') then missing[#missing + 1] = words[1] end
end
return missing

-- Undo take.lua for a plan.
--@keys ...
--@arguments ...
-- Keys: token buckets and quotas. Arguments: for each key 'b' and its interval, or 's' and the room id.
--@include now
for i, key in ipairs(KEYS) do
  local kind, value = ARGV[2 * i - 1], ARGV[2 * i]
  if kind == 's' then
    redis.call('SREM', key, value)
  else
    local full = tonumber(redis.call('GET', key) or '0') - tonumber(value)
    if full - now > 0.001 then
      redis.call('SET', key, string.format('%.6f', full), 'PX', math.ceil((full - now) * 1000))
    else
      redis.call('DEL', key)
    end
  end
end
return 1

-- Take the first plan whose requirements are all met.
--@keys ...
--@arguments room_prefix recheck_seconds day_seconds ...
-- Keys: token buckets, flags and quotas.
-- room_prefix: the beginning of rooms' keys. recheck_seconds: the wait for a full quota.
-- Further arguments: for each plan the number of its requirements, and for each requirement the number of its key and
--   'b' interval capacity period (token bucket), 'm' '' '' '' (flag), or 's' room_id limit '' (quota).
-- Return {number of the plan from 0, '', 0, 0}, or {-1, seconds to wait, number of the key that is lacking, number of the plan
-- that can be taken first}.
--@include now
-- Return the time at which a bucket is full again. A time later than `period` from now means that the clock was set back.
local function full_at(key, period)
  return math.min(math.max(tonumber(redis.call('GET', key) or '0'), now), now + tonumber(period))
end
local best, lacking, nearest, at, plan = nil, 0, 0, rest, 0
while at <= #ARGV do
  local first, count, wait, short = at + 1, tonumber(ARGV[at]), 0, 0
  for need = 0, count - 1 do
    local i = first + 5 * need
    local number, needed = tonumber(ARGV[i]), 0
    local key, kind = KEYS[number], ARGV[i + 1]
    if kind == 'b' then
      needed = full_at(key, ARGV[i + 4]) + tonumber(ARGV[i + 2]) - tonumber(ARGV[i + 3]) - now
      if needed < 0.000002 then needed = 0 end
    elseif kind == 'm' then
      if redis.call('EXISTS', key) == 0 then needed = tonumber(day_seconds) end
    elseif redis.call('SCARD', key) >= tonumber(ARGV[i + 3]) and redis.call('SISMEMBER', key, ARGV[i + 2]) == 0 then
      for _, room_id in ipairs(redis.call('SMEMBERS', key)) do
        if redis.call('EXISTS', room_prefix .. room_id) == 0 then redis.call('SREM', key, room_id) end
      end
      if redis.call('SCARD', key) >= tonumber(ARGV[i + 3]) then needed = tonumber(recheck_seconds) end
    end
    if needed > wait then wait, short = needed, number end
  end
  if wait == 0 then
    for need = 0, count - 1 do
      local i = first + 5 * need
      local key, kind = KEYS[tonumber(ARGV[i])], ARGV[i + 1]
      if kind == 'b' then
        local full = full_at(key, ARGV[i + 4]) + tonumber(ARGV[i + 2])
        redis.call('SET', key, string.format('%.6f', full), 'PX', math.ceil((full - now) * 1000))
      elseif kind == 's' then
        redis.call('SADD', key, ARGV[i + 2])
        redis.call('EXPIRE', key, day_seconds)
      end
    end
    return {plan, '', 0, 0}
  end
  if best == nil or wait < best then best, lacking, nearest = wait, short, plan end
  plan, at = plan + 1, first + 5 * count
end
return {-1, string.format('%.6f', best), lacking, nearest}

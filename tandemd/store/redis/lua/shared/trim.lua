-- Drop the oldest commits of a log beyond a number of bytes and of commits; keep the last one. Return the bytes that remain.
local function trim(log_key, bytes, max_bytes, max_commits)
  local length = redis.call('XLEN', log_key)
  if bytes <= max_bytes and length <= max_commits + max_commits / 16 then return bytes end
  max_bytes = max_bytes - max_bytes / 16
  while length > 1 and (bytes > max_bytes or length > max_commits) do
    local dropped = {}
    local likely = math.max(length - max_commits, math.ceil((bytes - max_bytes) * length / math.max(bytes, 1)), 1)
    for _, entry in ipairs(redis.call('XRANGE', log_key, '-', '+', 'COUNT', math.min(likely, 100))) do
      if length > 1 and (bytes > max_bytes or length > max_commits) then
        dropped[#dropped + 1] = entry[1]
        bytes = bytes - #entry[2][2]
        length = length - 1
      end
    end
    redis.call('XDEL', log_key, unpack(dropped))
  end
  if length == 1 then bytes = #redis.call('XRANGE', log_key, '-', '+')[1][2][2] end -- corrects a wrong count
  return bytes
end

local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000 -- seconds since 1970

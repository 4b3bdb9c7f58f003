-- Return the bytes and the number of entries in the journal. counted: the field `journal` of the store.
-- An empty journal resets the count, because older versions and operators can change the stream without counting.
local function journal_size(journal_key, counted)
  local length = redis.call('XLEN', journal_key)
  return length > 0 and tonumber(counted or '0') or 0, length
end

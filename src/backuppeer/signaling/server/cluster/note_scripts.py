"""What runs inside Valkey for recovery notes; see `scripts` for the manner of it.

| key | type | what |
|---|---|---|
| `n:INBOX` | hash | number (20 digits), sealed. Expires by itself |
| `notes` | zset | inboxes, in the order in which their notes were left (`note_turn` counts) |
| `note_due` | zset | inboxes, by the number of their note |
| `note_of` | hash | inbox → network that left its note, by the name that the node has for it |
| `nw:NETWORK` | zset | its inboxes, in that order |
| `crowds` | zset | networks, by how many notes they left |
"""

from typing import Final

_PRELUDE: Final = """
local P = KEYS[1]
local function call(verb, key, ...) return redis.call(verb, P .. key, ...) end
local function disown(inbox)
  local network = call('HGET', 'note_of', inbox)
  if not network then return end
  call('HDEL', 'note_of', inbox)
  call('ZREM', 'nw:' .. network, inbox)
  if tonumber(call('ZINCRBY', 'crowds', -1, network)) <= 0 then call('ZREM', 'crowds', network) end
end
local function drop(inbox)
  disown(inbox)
  call('DEL', 'n:' .. inbox)
  call('ZREM', 'notes', inbox)
  call('ZREM', 'note_due', inbox)
end
"""

PUT: Final = (
    _PRELUDE
    + """
local _, inbox, number, sealed, network, most, life = unpack(ARGV)
local known = call('HGET', 'n:' .. inbox, 'number')
if known and number <= known then return {0, call('ZCARD', 'notes')} end
disown(inbox)
call('HSET', 'n:' .. inbox, 'number', number, 'sealed', sealed)
call('PEXPIRE', 'n:' .. inbox, life)
local turn = call('INCR', 'note_turn')
call('ZADD', 'notes', turn, inbox)
call('ZADD', 'note_due', number, inbox)
if network ~= '' then
  call('HSET', 'note_of', inbox, network)
  call('ZADD', 'nw:' .. network, turn, inbox)
  call('ZINCRBY', 'crowds', 1, network)
end
while call('ZCARD', 'notes') > tonumber(most) do
  local crowd = call('ZREVRANGE', 'crowds', 0, 0, 'WITHSCORES')
  local oldest = call('ZRANGE', 'notes', 0, 0)[1]
  if crowd[2] and tonumber(crowd[2]) > 1 then oldest = call('ZRANGE', 'nw:' .. crowd[1], 0, 0)[1] end
  drop(oldest)
end
return {1, call('ZCARD', 'notes')}
"""
)
GET: Final = _PRELUDE + "return call('HMGET', 'n:' .. ARGV[2], 'number', 'sealed')"
SWEEP: Final = (
    _PRELUDE
    + """
local old = call('ZRANGEBYSCORE', 'note_due', '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])
for _, inbox in ipairs(old) do drop(inbox) end
return {#old == tonumber(ARGV[3]) and 1 or 0, call('ZCARD', 'notes')}
"""
)

"""What runs inside Valkey: Lua, so that each step is atomic whichever nodes ask at once (ADR 73).

Knows: how the state of a service lies in Valkey. Must not know: connections. All keys begin with the prefix (KEYS[1]),
whose hash tag puts them in one slot. Times are milliseconds of Valkey's own clock, one for all nodes; a test passes its
own as ARGV[1], else that is -1.

| key | type | what |
|---|---|---|
| `l:PEER` | hash | seq (20 digits), dig, until; while on show signed; vanish once nobody holds it. Expires by itself |
| `h:PEER` | set | node 8 ‖ holder 8 of the connections that published this number |
| `due` | zset | every peer known, by when something becomes of it; its size is held against the cap |
| `gone` | zset | peers whose number alone is kept, by when they left |
| `order`, `place` | hash | place → peer and back: a random permutation without holes |
| `seen` | zset | first 8 bytes of keys, by day |
| `inbox` | hash | inbox → node that attends it, empty = nobody |
| `last` | hash | inbox → number of its newest message, of that inbox alone: its owner can't count those of others |
| `unattended` | zset | inboxes, by when they end |
| `m:INBOX` | hash | number → sealed. Expires by itself |
| `mdue` | zset | inbox 32 ‖ number, by when the message ends |
| `nodes` | zset | nodes, by their last beat |
| `nl:NODE`, `ni:NODE` | set | peer 32 ‖ holder 8, and inboxes, that live by this node |
| `t:NAME` | string | a token bucket: when it is full again. Expires by itself |
| `key:DAY` | string | what networks are named by. Expires by itself |

Lua's numbers are doubles: a listing's number is compared as 20 digits, all others are below 2^53.
"""

from typing import Final

_PRELUDE: Final = """
local P, now = KEYS[1], tonumber(ARGV[1])
if now < 0 then local t = redis.call('TIME'); now = t[1] * 1000 + math.floor(t[2] / 1000) end
local function call(verb, key, ...) return redis.call(verb, P .. key, ...) end
local function swap(a, b)
  if a == b then return end
  local pa, pb = call('HGET', 'order', a), call('HGET', 'order', b)
  call('HSET', 'order', a, pb, b, pa)
  call('HSET', 'place', pa, b, pb, a)
end
local function join(peer, draw)
  local n = call('HLEN', 'order')
  call('HSET', 'order', n, peer)
  call('HSET', 'place', peer, n)
  swap(n, draw % (n + 1))
end
local function leave(peer)
  local place = call('HGET', 'place', peer)
  if not place then return end
  local last = call('HLEN', 'order') - 1
  swap(tonumber(place), last)
  call('HDEL', 'order', last)
  call('HDEL', 'place', peer)
end
local function forget(peer)
  leave(peer)
  call('DEL', 'l:' .. peer)
  call('DEL', 'h:' .. peer)
  call('ZREM', 'due', peer)
  call('ZREM', 'gone', peer)
end
local function vanish(peer, kept)
  leave(peer)
  call('HDEL', 'l:' .. peer, 'signed', 'vanish')
  call('PEXPIRE', 'l:' .. peer, kept + 60000)
  call('DEL', 'h:' .. peer)
  call('ZADD', 'gone', now, peer)
  call('ZADD', 'due', now + kept, peer)
end
local function lose(peer, member, at)
  if call('SREM', 'h:' .. peer, member) == 0 or call('SCARD', 'h:' .. peer) > 0 then return end
  local ends = tonumber(call('HGET', 'l:' .. peer, 'until') or 0)
  call('HSET', 'l:' .. peer, 'vanish', at)
  call('ZADD', 'due', math.min(ends, at), peer)
end
local function drop_message(inbox, number)
  call('HDEL', 'm:' .. inbox, number)
  call('ZREM', 'mdue', inbox .. number)
end
local function drop_inbox(inbox)
  for _, number in ipairs(call('HKEYS', 'm:' .. inbox)) do drop_message(inbox, number) end
  call('HDEL', 'inbox', inbox)
  call('HDEL', 'last', inbox)
  call('ZREM', 'unattended', inbox)
end
local function abandon(inbox, node, ends)
  call('SREM', 'ni:' .. node, inbox)
  if call('HGET', 'inbox', inbox) ~= node then return end
  call('HSET', 'inbox', inbox, '')
  call('ZADD', 'unattended', ends, inbox)
end
"""

PUT: Final = (
    _PRELUDE
    + """
local _, peer, seq, dig, is_slot, life, signed, node, holder, draw, most, kept = unpack(ARGV)
life, kept = tonumber(life), tonumber(kept)
local record, known = 'l:' .. peer, call('HGET', 'l:' .. peer, 'seq')
if known and (seq < known or (seq == known and dig ~= call('HGET', record, 'dig'))) then return 'stale' end
if not known then
  if call('ZCARD', 'due') >= tonumber(most) then
    local oldest = call('ZRANGE', 'gone', 0, 0)[1]
    if oldest then forget(oldest) end
  end
  if call('ZCARD', 'due') >= tonumber(most) then return 'full' end
end
if seq ~= known then call('DEL', 'h:' .. peer) end
call('HSET', record, 'seq', seq, 'dig', dig, 'until', now + life)
if is_slot == '0' then vanish(peer, kept); return 'accepted' end
call('HSET', record, 'signed', signed)
call('HDEL', record, 'vanish')
call('PEXPIRE', record, life + kept)
call('ZREM', 'gone', peer)
call('ZADD', 'due', now + life, peer)
call('SADD', 'h:' .. peer, node .. holder)
call('PEXPIRE', 'h:' .. peer, life + kept)
call('SADD', 'nl:' .. node, peer .. holder)
if not call('HGET', 'place', peer) then join(peer, tonumber(draw)) end
return 'accepted'
"""
)
IS_NEWER: Final = (
    _PRELUDE
    + """
local known = call('HGET', 'l:' .. ARGV[2], 'seq')
return (not known or ARGV[3] > known) and 1 or 0
"""
)
LOSE: Final = (
    _PRELUDE
    + """
local _, peer, node, holder, grace = unpack(ARGV)
call('SREM', 'nl:' .. node, peer .. holder)
lose(peer, node .. holder, now + tonumber(grace))
"""
)
PAGE: Final = (
    _PRELUDE
    + """
local rows, peers, limit, looked, n = {}, {}, tonumber(ARGV[2]), 0, call('HLEN', 'order')
for i = 3, #ARGV do
  if #rows == limit then break end
  looked = looked + 1
  local peer = tonumber(ARGV[i]) < n and call('HGET', 'order', ARGV[i])
  local signed = peer and call('HGET', 'l:' .. peer, 'signed')
  if signed then rows[#rows + 1], peers[#peers + 1] = signed, peer end
end
return {looked, n, rows, peers}
"""
)
DROP: Final = _PRELUDE + "forget(ARGV[2])"
SEE: Final = (
    _PRELUDE
    + """
local name, most, days, today = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), math.floor(now / 86400000)
if not call('ZSCORE', 'seen', name) and call('ZCARD', 'seen') >= most then
  call('ZREMRANGEBYSCORE', 'seen', '-inf', today - days)
  local oldest = call('ZRANGE', 'seen', 0, 0, 'WITHSCORES')[2]
  if call('ZCARD', 'seen') >= most and oldest and tonumber(oldest) < today then
    call('ZREMRANGEBYSCORE', 'seen', '-inf', oldest)
  end
  if call('ZCARD', 'seen') >= most then return 0 end
end
call('ZADD', 'seen', today, name)
return 1
"""
)
HAS_SEEN: Final = (
    _PRELUDE
    + """
local day = call('ZSCORE', 'seen', ARGV[2])
return day and tonumber(day) > math.floor(now / 86400000) - tonumber(ARGV[3]) and 1 or 0
"""
)
OPEN_INBOX: Final = (
    _PRELUDE
    + """
local inbox, node, most = ARGV[2], ARGV[3], tonumber(ARGV[4])
local former = call('HGET', 'inbox', inbox)
if not former then
  if call('HLEN', 'inbox') >= most then
    local oldest = call('ZRANGE', 'unattended', 0, 0)[1]
    if oldest then drop_inbox(oldest) end
  end
  if call('HLEN', 'inbox') >= most then return 0 end
end
call('HSET', 'inbox', inbox, node)
call('ZREM', 'unattended', inbox)
call('SADD', 'ni:' .. node, inbox)
if former and former ~= '' and former ~= node then
  call('SREM', 'ni:' .. former, inbox)
  call('PUBLISH', 'node:' .. former, 'd' .. inbox)
end
return 1
"""
)
LEAVE_INBOX: Final = _PRELUDE + "abandon(ARGV[2], ARGV[3], now + tonumber(ARGV[4]))"
DEPOSIT: Final = (
    _PRELUDE
    + """
local _, inbox, sealed, life, each, most = unpack(ARGV)
local node = call('HGET', 'inbox', inbox)
if not node or call('ZCARD', 'mdue') >= tonumber(most) then return 0 end
if call('HLEN', 'm:' .. inbox) >= tonumber(each) then return 0 end
local number = call('HINCRBY', 'last', inbox, 1)
call('HSET', 'm:' .. inbox, number, sealed)
call('PEXPIRE', 'm:' .. inbox, life * 2)
call('ZADD', 'mdue', now + tonumber(life), inbox .. number)
if node ~= '' then call('PUBLISH', 'node:' .. node, 'm' .. string.format('%020d', number) .. inbox .. sealed) end
return number
"""
)
TAKE: Final = _PRELUDE + "drop_message(ARGV[2], ARGV[3])"
SPEND: Final = (
    _PRELUDE
    + """
local key, gap, burst = 't:' .. ARGV[2], 1000 / tonumber(ARGV[3]), tonumber(ARGV[4])
local full = math.max(tonumber(call('GET', key) or now), now) + gap
if full - now > burst * gap + 0.01 then return 0 end
call('SET', key, string.format('%.3f', full), 'PX', math.ceil(full - now) + 1000)
return 1
"""
)
NETWORK_KEY: Final = (
    _PRELUDE
    + """
local key = 'key:' .. math.floor(now / 86400000)
call('SET', key, ARGV[2], 'NX', 'PX', 86400000)
return call('GET', key)
"""
)
SWEEP: Final = (
    _PRELUDE
    + """
local kept, days, batch, more = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), 0
local function due(key)
  local found = call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, batch)
  if #found == batch then more = 1 end
  return found
end
for _, peer in ipairs(due('due')) do
  if call('HGET', 'place', peer) then vanish(peer, kept) else forget(peer) end
end
for _, name in ipairs(due('mdue')) do drop_message(name:sub(1, 32), name:sub(33)) end
for _, inbox in ipairs(due('unattended')) do drop_inbox(inbox) end
call('ZREMRANGEBYSCORE', 'seen', '-inf', math.floor(now / 86400000) - days)
return more
"""
)
BEAT: Final = (
    _PRELUDE
    + """
if ARGV[3] == '0' and not call('ZSCORE', 'nodes', ARGV[2]) then return 0 end
call('ZADD', 'nodes', now, ARGV[2])
return 1
"""
)
REAP: Final = (
    _PRELUDE
    + """
local dead, grace, life = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local batch, own = tonumber(ARGV[5]), ARGV[6]
local found = call('ZRANGEBYSCORE', 'nodes', '-inf', now - dead, 'WITHSCORES', 'LIMIT', 0, 2)
for i = 1, #found, 2 do
  local node, at = found[i], tonumber(found[i + 1])
  if node ~= own then
    for _, held in ipairs(call('SPOP', 'nl:' .. node, batch)) do
      lose(held:sub(1, 32), node .. held:sub(33), at + grace)
    end
    for _, inbox in ipairs(call('SPOP', 'ni:' .. node, batch)) do abandon(inbox, node, at + life) end
    if call('SCARD', 'nl:' .. node) + call('SCARD', 'ni:' .. node) == 0 then
      call('ZREM', 'nodes', node)
      return 0
    end
    return 1
  end
end
return 0
"""
)
WAITING: Final = _PRELUDE + "return call('HGETALL', 'm:' .. ARGV[2])"
ATTENDED: Final = _PRELUDE + "return call('SMEMBERS', 'ni:' .. ARGV[2])"
SIZE: Final = _PRELUDE + "return call('HLEN', 'order')"

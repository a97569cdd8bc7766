"""Limits of the relay and the observer inside a server, and of who uses them (DESIGN 7; ADR 77, 78). See `limits`."""

from typing import Final

from backuppeer.limits.units import GIB, KIB, MIB

RELAY_LIFE_S: Final = 900.0
"""How long an admission holds; whoever still wants it asks again before."""
RELAY_ATTACH_S: Final = 3.0
"""What a host takes to be found at a relay before it answers a knock; the answer then goes without."""
RELAY_WAIT_S: Final = 1.0
"""Of that, for servers and for observers: who takes longer is used once it has answered."""
RELAY_VAIN_S: Final = 300.0
"""How long nobody waits again for a relay to be home, or for observers, after that was in vain."""
RELAY_FRESH_S: Final = 20.0
"""How long it is taken for granted that a server which admitted us was not restarted, and one that failed fails."""
RELAY_HOME_LOOK_S: Final = 0.02
RELAY_SERVERS: Final = 3
"""Of whose relays a home may be found at one."""
RELAY_KEPT_S: Final = 600.0
"""How long an admission is renewed after it was used last, unless a session goes by a relay."""
DIRECT_FIRST_S: Final = 1.5
"""What a direct dial takes before the relay is tried, too: a server that relays sees who talks to whom."""
OBSERVE_AGAIN_S: Final = 25.0
"""Below the 30 s after which NATs forget a UDP port that only one side has used (RFC 4787 asks for 120)."""
OBSERVE_LOOK_S: Final = 2.0
"""How often this machine's own addresses are looked at: with other ones, it is seen elsewhere."""
RELAY_LIFE_MOST_S: Final = 86_400
"""What a server may promise at most."""
OBSERVERS: Final = 4
"""Two for each IP version: which tells whether a NAT gives each destination another port."""
RELAY_ADMISSIONS: Final = 65_536
"""Transport keys admitted at one server: 10 MiB."""
RELAY_ADMISSIONS_PER_NETWORK: Final = 2_048
"""Of a /24 of IPv4 or a /48 of IPv6: many customers of one carrier, and still 32 such networks to take all places."""
RELAY_CLIENTS: Final = 4_096
"""Connected at once; their receive and send buffers are what costs memory."""
RELAY_PAYLOAD_BYTES: Final = 64 * KIB
"""Of a relay frame after its type byte: as iroh's own relay and client have it."""
RELAY_QUEUE_BYTES: Final = 512 * KIB
"""Waiting for one direction of one pair, before its sender is read no further; for all pairs of a sender twice that."""
RELAY_WAITING_BYTES: Final = 64 * MIB
"""Waiting in all; of it one network gets half, and each further one half of what is left."""
RELAY_SEND_BYTES: Final = MIB
"""Waiting for one receiver; beyond, datagrams to it are dropped."""
RELAY_TURN_BYTES: Final = 64 * KIB
"""What a network may send before the next one's turn, and in it a sender, and of that a pair."""
RELAY_PAIRS: Final = 64
"""Others that one client may send to at once."""
RELAY_BUDGET_BYTES: Final = 16 * GIB
"""What one direction of a pair may send as fast as the server can …"""
RELAY_BUDGET_BYTES_PER_S: Final = 4.0 * MIB
"""… and what is added to that per second: a server is not made for carrying backups for ever."""
RELAY_BUDGETS: Final = 16_384
"""Pairs whose budget is remembered; beyond, those that sent nothing for longest begin anew."""
RELAY_BYTES_PER_S: Final = 500_000_000
"""All pairs together: more than one process carries; an operator who pays for traffic sets less."""
OBSERVER_CONNECTIONS: Final = 64
"""Handshakes and answers under way at once; an answer takes a round trip."""
OBSERVER_S: Final = 5.0
"""What one may take, at the server and for whoever asks."""

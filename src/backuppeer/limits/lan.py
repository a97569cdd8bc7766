"""Limits of finding peers on the same network (DESIGN 7, ADR 81). See `limits`."""

from typing import Final

LAN_LOOK_S: Final = 1.5
"""How long answers to a question by multicast are waited for: nobody says the same again within a second."""
LAN_BROWSE_S: Final = 1.75
"""What a look takes in all, with the offers fetched: no longer than servers may (BROWSE_SOFT_S)."""
LAN_SEEN_KEPT_S: Final = 600.0
"""How long `status` tells whom the last looks found."""
LAN_PLACES: Final = 64
"""Services of one look that are followed up: a house has a few, and whoever announces ten thousand is no house."""
LAN_PLACES_AT_ONCE: Final = 16
LAN_PLACE_ADDRESSES: Final = 2
"""Of one service, tried one after the other."""
LAN_CLAIMS: Final = 4
"""Places that may show the offer of one host: it has one for each network card, and anybody can show it again."""
LAN_CONNECT_S: Final = 1.0
LAN_ANSWER_S: Final = 3.0
"""What a place may take for its answer once it has the question."""
LAN_KNOCK_S: Final = 4.0
"""What knocks at all places that showed one host's offer take, before servers are asked; each has an equal part."""
LAN_REQUEST_S: Final = 3.0
"""What whoever comes to the door may take to ask, and to take the answer."""
LAN_DOOR_CONNECTIONS: Final = 32
LAN_DOOR_PER_ADDRESS: Final = 4
"""Of these, from one address: nobody alone fills the door."""
LAN_DOOR_PER_MINUTE: Final = 60
"""Questions from one address."""
LAN_DOOR_ADDRESSES: Final = 1024
"""Addresses that are counted; those that asked least lately are forgotten."""
LAN_INTERFACES: Final = 16
"""Networks of this machine at which its door stands; one with more has containers, not neighbours."""
LAN_SETTLE_S: Final = 5.0
"""How often networks and settings are looked at: after so long a machine that came home is found there."""

"""Limits of a signaling service: its buckets, and the store that several nodes share (DESIGN 7). See `limits`."""

from typing import Final

from backuppeer.limits.units import KIB, MIB

SERVER_BUCKETS: Final = 100_000
"""Networks, keys and inboxes whose tokens one process counts: some 20 MB."""
STORE_ANSWER_S: Final = 2.0
"""Valkey answers within a millisecond; later than this it is gone, and a client is better off elsewhere."""
STORE_CONNECTIONS: Final = 16
STORE_BEAT_S: Final = 1.0
"""How often a node says that it lives, and looks for a store that is gone."""
STORE_NODE_DEAD_S: Final = 15.0
"""Without a beat for this long a node is dead; what it held is let go as of its last beat."""
STORE_BATCH: Final = 500
"""Listings or inboxes that one script lets go: milliseconds in which Valkey does nothing else."""
STORE_DEBTS: Final = 10_000
"""Connections that ended while the store was gone; beyond, all that publish here are sent to publish again."""
STORE_MIRROR: Final = 5_000
"""Listings that a node hands out while the store is gone: 10 MB, more than a viewer takes of one server."""
DRAIN_LEAST_PER_S: Final = 500
"""Connections closed each second at least by a server that ends: a small one ends at once."""
SERVER_DRAIN_S: Final = 10.0
"""How long a server that ends takes to send everybody elsewhere."""
NETWORK_PUBLISHES: Final = 1_000
"""Listings at once from one network (a /24, a /48 of IPv6): each of its addresses, four times."""
NETWORK_PUBLISHES_PER_S: Final = 5.0
NETWORK_DEPOSITS: Final = 1_000
NETWORK_DEPOSITS_PER_S: Final = 10.0
NETWORK_PAGES: Final = 4_000
"""A hundred whole browses at once, then two a second."""
NETWORK_PAGES_PER_S: Final = 100.0
NETWORK_INBOXES: Final = 2_000
NETWORK_INBOXES_PER_S: Final = 20.0
KEY_PUBLISHES: Final = 60
"""Listings of one key at once, at all nodes: each lost connection costs one."""
KEY_PUBLISHES_PER_S: Final = 0.1
INBOX_DEPOSITS: Final = 128
"""Messages into one inbox at once, however fast its owner takes them."""
INBOX_DEPOSITS_PER_S: Final = 2.0
SERVER_REQUEST_BYTES: Final = 16 * KIB
"""Of the HTTP request that opens a connection, headers of proxies included; the library would keep 1 MiB of each."""
SERVER_CONTROL_FRAMES: Final = 32
"""Pings, pongs and splinters of messages of one connection at once; honest ones send one in 20 s."""
SERVER_CONTROL_FRAMES_PER_S: Final = 2.0
SERVER_STRIKES: Final = 100
"""Connections of one address that broke the protocol, before it is kept out."""
SERVER_STRIKES_PER_HOUR: Final = 60.0
SERVER_BAN_S: Final = 600.0
SERVER_BANS: Final = 20_000
FORWARDED_STEPS: Final = 16
"""Proxies in a row that are read back through."""
LOAD_KEYS_PER_S: Final = 2.0
"""New keys a second, over a minute, from which on each doubling asks them for one bit of work more."""
LOAD_WINDOW_S: Final = 60.0
LOAD_BITS_LEAST: Final = 12
"""Under load, where an operator asks for no work otherwise: a sixteenth of the usual."""
LOAD_MESSAGES_PER_S: Final = 50.0
"""Messages a second for all inboxes, over a minute, from which on those into one that had some lately cost work."""
LOAD_INBOX_PER_S: Final = 0.5
"""The same of one inbox, as cheap a flood as can drown a host: five people who wait at a screen knock as often."""
MESSAGE_FREE_S: Final = 600.0
"""The first message that an inbox gets in so long is free: so a reply is, and a knock at a host that is left alone."""
LOAD_INBOXES: Final = 65_536
"""Inboxes whose messages one process counts, some 16 MB; to push one out takes as many messages as this."""
SNAPSHOT_BYTES: Final = 64 * MIB
"""Listings that outlive a restart of a server: some 32,000, checked within seconds; hosts publish the rest again."""
SNAPSHOT_EVERY_S: Final = 300.0

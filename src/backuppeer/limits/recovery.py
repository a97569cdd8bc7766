"""Limits of recovery from the words: slots, notes, where they are kept (DESIGN 3, 7; ADR 46). See `limits`."""

from typing import Final

from backuppeer.limits.units import KIB

RECOVERY_SLOTS: Final = 64
"""One for each agreement as owner; all of them are opened at each server."""
NOTE_BYTES: Final = 7 * KIB
"""A note, sealed: agreement, head, grant, receipt, binding are 2 KiB as a rule; fits into one message to a server."""
NOTE_KEY_BYTES: Final = 1216
"""HPKE public key, hybrid (crypto.envelope)."""
NOTE_SERVERS: Final = 4
"""Servers that an owner names to a host, and a note to its owner."""
NOTE_PLACES: Final = 8
"""Servers at which one note is left: those named, and the host's own."""
NOTE_KEPT_S: Final = 90 * 86400
"""How long a server keeps a note after it was left."""
NOTE_LEADING_S: Final = 90 * 86400
"""How long hosts go on to leave word where an identity that was succeeded looks for it: then servers keep the last."""
NOTE_EVERY_S: Final = 86400.0
"""How often a host leaves one anew."""
NOTE_SPREAD_S: Final = 3600.0
"""Earlier by up to this: hosts and inboxes must not keep time together."""
NOTE_SOON_S: Final = 1.0
"""After a new head: a host that is brought up takes many heads one after the other."""
NOTES_AT_ONCE: Final = 6
NOTE_WINDOW_S: Final = 1800.0
"""Notes of one agreement that its owner can cause within this time: what servers take of a host is for all owners."""
NOTE_AGAIN_S: Final = 600.0
"""After a server could not be reached."""
SERVER_NOTES: Final = 65_536
"""Notes that a server keeps in its data folder: 450 MiB."""
SERVER_MEMORY_NOTES: Final = 8_192
"""Notes that a server without one keeps in memory: 56 MiB."""
SERVER_NOTES_BURST: Final = 512
"""Notes that one network address may leave at once …"""
SERVER_NOTES_PER_HOUR: Final = 512
"""… and per hour from then on: a host with forty owners who back up each hour needs half of it at two servers."""
SERVER_NOTE_ADDRESSES: Final = 10_000
"""Addresses whose rate is remembered; beyond, those that left nothing for longest begin anew."""
RECOVERY_SOCKETS: Final = 16
"""Inboxes opened side by side at one server."""
RECOVERY_DIALS: Final = 8
"""Hosts dialled side by side."""

"""Recovery slots: what an owner hands to a host, so that the words alone find that host again (DESIGN 3, ADR 46).

Knows: which key comes from which, and for how long an inbox is used. Must not know: what a note says, servers.

    working secret ── slot n ───── inbox of a server and a quarter     (the host has the slot's seed)
                  └── note key n                                      (only who has the words, or the owner's home)

Both derivations are HKDF with labels of their own, so none of these keys tells anything of another or of the working
secret. What follows from that, argument by argument, stands beside each function.
"""

from dataclasses import dataclass, field
from typing import Final

from backuppeer.crypto.envelope import ENVELOPE_PRIVATE_BYTES, EnvelopeKey
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import SECRET_BYTES, Label, WorkingSecret, derive_key
from backuppeer.errors import LocalError
from backuppeer.limits import RECOVERY_SLOTS

QUARTER_S: Final = 91 * 86400
"""Of Unix time. No shorter than a note is kept: what is kept now was left in this quarter or in the one before."""
_LAST_QUARTER: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Slot:
    """The two halves of a slot. `seed`: 32 bytes, for the host. `opener`: opens what the host seals to its public half.

    The host is given `seed` and `opener.public`. It can fill the inboxes of this slot and read in them what it has
    written, sealed; it can neither open that, nor find the inbox of another host of the same owner.
    """

    seed: bytes = field(repr=False)
    opener: EnvelopeKey


def derive_slot(working: WorkingSecret, number: int) -> Slot:
    """Return slot `number`, below RECOVERY_SLOTS. Context of both keys: one byte, the number.

    The opener must not follow from the seed, which a host has: hence a label of its own, from the working secret. It is
    of that secret, not of the master, so that a home can hand it out without the words; a thief of a home can open
    notes, which say who the hosts are: the home tells him that as well.

    Raises:
        LocalError: there is no such number.

    """
    if not 0 <= number < RECOVERY_SLOTS:
        raise LocalError(f"there is no recovery slot {number}")
    context = bytes([number])
    seed = derive_key(working.secret, Label.RECOVERY_SLOT, context=context)
    private = derive_key(working.secret, Label.RECOVERY_NOTE, context=context, length=ENVELOPE_PRIVATE_BYTES)
    return Slot(seed, EnvelopeKey.from_private_bytes(private))


def derive_inbox(seed: bytes, server: str, quarter: int) -> SigningKey:
    """Return the key of a slot's inbox at one server in one quarter; its public half names the inbox.

    server: host and port as clients dial them (`servers.authority`), ASCII. Context: u32be(quarter) ‖ server.

    The name is a public key of a seed that only owner and host have: so nobody else can guess it, or sign for it, and a
    server checks a deposit by the name alone. Server and quarter are part of it: two servers, or one server in two
    quarters, see names that nothing links; a server that sees a key used can't use it elsewhere.

    Raises:
        LocalError: the seed has not 32 bytes, or the quarter is none.

    """
    if len(seed) != SECRET_BYTES:
        raise LocalError(f"the seed of a recovery slot has {SECRET_BYTES} bytes, not {len(seed)}")
    if not 0 <= quarter <= _LAST_QUARTER:
        raise LocalError(f"there is no quarter {quarter}")
    context = quarter.to_bytes(4, "big") + server.encode("ascii", "backslashreplace")
    return SigningKey.from_seed(derive_key(seed, Label.RECOVERY_INBOX, context=context))


def quarter_of(now_ms: int) -> int:
    """Return the quarter in which a time lies; now_ms: milliseconds since 1970 UTC."""
    return now_ms // (QUARTER_S * 1000)

"""What an agreement promises beyond space, term and lock: reciprocity, budgets, availability (DESIGN 5, ADR 51, 70).

Knows: their places in `ext` of a knock, its reply and a Pending, which are those in an Agreement and a listing, too,
but that these have a field of their own for availability; what follows from the numbers. Must not know: who keeps
what, who is refused. Pure. What is not promised has no place: an agreement of before says the same as one without any
of them, and is the same bytes.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from backuppeer.errors import RefusedError
from backuppeer.limits import RECIPROCITY_MOST_PERMILLE

_BYTES: Final = 8
_MOST: Final = 2**63 - 1
_PERMILLE: Final = 1000


class Promises(NamedTuple):
    """0: nothing is promised.

    reciprocity: for each byte agreed on, the owner keeps so many thousandths of one for the host. audit_bytes: so much
    a day the host reads for audits. egress_bytes: so much a day it sends back at least. availability: so many
    thousandths of the time the host is there.
    """

    reciprocity: int = 0
    audit_bytes: int = 0
    egress_bytes: int = 0
    availability: int = 0


NOTHING: Final = Promises()
_NAMES: Final = ("reciprocity-permille", "audit-bytes-a-day", "egress-bytes-a-day", "availability-permille")
"""The key of each in `ext`; its value is 8 bytes, big-endian, above 0 and below 2⁶³."""


def write_promises(promises: Promises) -> dict[str, bytes]:
    """Return the fields of `ext` of a knock, its reply and a Pending for what is promised."""
    return {name: value.to_bytes(_BYTES, "big") for name, value in zip(_NAMES, promises, strict=True) if value}


def read_promises(ext: Mapping[str, bytes]) -> Promises:
    """Return what `ext` promises. A value that is none promises nothing, to both sides alike."""
    return Promises(*(_read(ext.get(name, b"")) for name in _NAMES))


def split_promises(promises: Promises) -> tuple[int, dict[str, bytes]]:
    """Return the availability in permille, and `ext`, of an agreement or a listing for what is promised."""
    return promises.availability, write_promises(promises._replace(availability=0))


def join_promises(availability: int, ext: Mapping[str, bytes]) -> Promises:
    """Return what an agreement or a listing promises, by its field for availability in permille, and its `ext`."""
    return read_promises(ext)._replace(availability=availability)


def other_fields(ext: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the fields of `ext` of an agreement that are about something else."""
    return {name: value for name, value in ext.items() if name not in _NAMES[:-1]}


def asks_more_of_host(old: Promises, new: Promises) -> bool:
    """Return whether less is given in return, or more is to be read or sent, or the host to be there more."""
    # Without an audit budget of its own an agreement has the usual one, which may be more or less: any other is asked.
    is_read_less = old.audit_bytes >= new.audit_bytes > 0 or old.audit_bytes == new.audit_bytes
    is_there_more = new.availability > old.availability
    is_sent_more = new.egress_bytes > old.egress_bytes
    return new.reciprocity < old.reciprocity or not is_read_less or is_sent_more or is_there_more


def check_promises(promises: Promises) -> None:
    """Return if nobody promises what can't be meant.

    Raises:
        RefusedError: somebody does.

    """
    if promises.reciprocity > RECIPROCITY_MOST_PERMILLE:
        most = RECIPROCITY_MOST_PERMILLE // _PERMILLE
        raise RefusedError(
            f"nobody keeps more than {most} times in return what is kept for them", hint="ask for less: --reciprocity 1"
        )
    if promises.availability > _PERMILLE:
        raise RefusedError("nobody is there for more than all of the time", hint="ask for less: --availability 95%")


def return_bytes(size_bytes: int, promises: Promises) -> int:
    """Return how many bytes an owner promised to keep in return for an agreement of so many."""
    return size_bytes * promises.reciprocity // _PERMILLE


def _read(raw: bytes) -> int:
    value = int.from_bytes(raw, "big") if len(raw) == _BYTES else 0
    return value if value <= _MOST else 0

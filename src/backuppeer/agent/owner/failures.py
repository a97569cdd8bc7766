"""What is told of a pack that hosts did not give, or gave wrong.

Knows: errors of hosts, their names. Must not know: who asked for the pack, what is in it.
"""

from collections.abc import Mapping, Sequence

from backuppeer.errors import (
    BackupPeerError,
    IntegrityFault,
    PeerUnreachable,
    ProtocolViolation,
    RefusedError,
    StoreUnavailable,
    Unavailable,
)
from backuppeer.ids import LogicalId


class NonsenseError(IntegrityFault):
    """A host that is there answered with what is no answer: by once it says nothing of its copy."""


def describe_failure(host: str, pack: LogicalId, error: BackupPeerError) -> str:
    """Return what to tell of a host that is there, and gives a pack wrong or not at all."""
    name = pack.hex()[:8]
    if isinstance(error, RefusedError):
        return f"{host} does not give pack {name} ({error.message}); `backup-peer repair` mends what hosts lost"
    if isinstance(error, IntegrityFault):
        return f"{host} returned wrong bytes of pack {name}, not used; `backup-peer repair --read-data` looks for more"
    return (
        f"{host} broke the protocol when asked for pack {name} ({error.message}): its answer is not used; "
        "`backup-peer repair --read-data` asks it again, and mends what it lost"
    )


def summarise_failures(pack: LogicalId, failures: Mapping[str, BackupPeerError]) -> BackupPeerError:
    """Return what to tell of a pack that nobody gave; `failures`: why not, by what its hosts are called.

    As long as one of them is away it is not lost, whatever others gave.
    """
    name = pack.hex()[:8]
    if not failures:
        return IntegrityFault(f"no peer is known to hold pack {name}", hint="see `backup-peer status`")
    away = [who for who, exc in failures.items() if isinstance(exc, Unavailable)]
    wrong = [who for who, exc in failures.items() if not isinstance(exc, Unavailable)]
    if away and wrong:
        return PeerUnreachable(
            f"{_join(wrong)} lost pack {name}, or returned it wrong, and {_join(away)} can't be reached",
            hint=f"run it again when {_join(away, 'or')} is back, which has it, too",
        )
    worst = next(iter(failures.values()))
    if isinstance(worst, RefusedError | ProtocolViolation):
        kind = NonsenseError if isinstance(worst, ProtocolViolation) else IntegrityFault
        return kind(f"pack {name} can't be had from {_join(wrong)}: {worst.message}", hint=worst.hint)
    if isinstance(worst, IntegrityFault):
        return IntegrityFault(f"{_join(wrong)} returned wrong bytes of pack {name}: {worst.message}", hint=worst.hint)
    if isinstance(worst, StoreUnavailable):
        # Of a host that can't take anything it is a refusal; of one that can't give, weather like any other.
        return PeerUnreachable(f"pack {name} can't be had now: {worst.message}", hint=worst.hint)
    return worst


def _join(names: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join(names)

"""Which hosts a pack should go to: decided here, purely, so that it can be tested and simulated.

Knows: agreements and what lies where. Must not know: sessions, disks, databases. Today every chosen agreement gets a
copy of every pack; spreading over many peers by trust and room comes into this function, not around it.
"""

from collections.abc import Collection, Iterable, Sequence

from backuppeer.ids import AgreementId, LogicalId
from backuppeer.shares.copies import Copy


def plan_hosts(
    pack: LogicalId, agreements: Sequence[AgreementId], copies: Iterable[Copy] = ()
) -> tuple[AgreementId, ...]:
    """Return the agreements under which a new copy of `pack` should be stored, in the order of `agreements`.

    `copies`: what is known to be stored already; copies of other packs are ignored. Empty = nothing to do.
    """
    held = {copy.agreement for copy in copies if copy.logical == pack}
    return tuple(dict.fromkeys(agreement for agreement in agreements if agreement not in held))


def plan_repair(
    packs: Iterable[LogicalId], agreements: Collection[AgreementId], copies: Iterable[Copy]
) -> dict[LogicalId, tuple[AgreementId, ...]]:
    """Return for each pack that lacks copies the agreements that should get one."""
    held: dict[LogicalId, list[Copy]] = {}
    for copy in copies:
        held.setdefault(copy.logical, []).append(copy)
    plans = {pack: plan_hosts(pack, tuple(agreements), held.get(pack, ())) for pack in packs}
    return {pack: plan for pack, plan in plans.items() if plan}

"""What a prune means, host by host, for people and programs.

Knows: plan, ledger, agreements. Must not know: how it is done. A host erases when its lock is over, and counts the time
in which its agent runs: the date told is the soonest.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from backuppeer.agent.owner.gathering import Gathering
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.backup.prune_plan import PrunePlan
from backuppeer.clock import format_time
from backuppeer.control.pruning import PruneHost, PruneResult
from backuppeer.control.pruning import PrunePlan as PlanShown
from backuppeer.ids import LogicalId, format_peer_id

_LATER = "the next backup tells it"


def count_host(vault: Vault, partner: Partner, gone: AbstractSet[LogicalId], *, is_told: bool) -> PruneHost:
    """Return what a host has of the packs that go, those included of which it was not told before."""
    ledger = vault.repository.ledger
    sizes = [copy.size for copy in ledger.copies_at(partner.agreement) if copy.logical in gone]
    sizes += [copy.size for copy in ledger.doomed_at(partner.agreement, is_told=False)]
    return _host(vault, partner, len(sizes), sum(sizes), vault.lock_s(partner), is_told=is_told)


def describe_plan(
    vault: Vault,
    plan: PrunePlan,
    strays: AbstractSet[LogicalId],
    partners: Sequence[Partner],
    hosts: Gathering,
    *,
    room_bytes: int,
    wish_bytes: int | None,
) -> PlanShown:
    """Return a plan, with packs at hosts that no head names counted as deleted there; `wish_bytes`: to move at most."""
    gone = strays | set(plan.victims)
    there = {partner.agreement for partner in partners}
    return PlanShown(
        packs=len(plan.victims) + plan.kept,
        bytes=plan.total_bytes,
        delete_packs=len(plan.delete),
        delete_bytes=plan.delete_bytes,
        repack_packs=len(plan.repack),
        repack_bytes=plan.repack_bytes,
        move_bytes=plan.move_bytes,
        kept_packs=plan.kept,
        unused_bytes=plan.unused_bytes,
        held_back=plan.held_back,
        is_room_short=wish_bytes is None or room_bytes < wish_bytes,
        room_bytes=room_bytes,
        hosts=[count_host(vault, p, gone, is_told=p.agreement in there) for p in vault.partners()],
        left_out=hosts.describe_left_out(hint=_LATER),
    )


def describe_result(
    vault: Vault,
    plan: PrunePlan,
    victims: AbstractSet[LogicalId],
    hosts: Gathering,
    told: Iterable[Partner],
    *,
    sent_bytes: int,
    reporter: Reporter,
) -> PruneResult:
    """Return what was done: `victims` are the packs of the plan that went."""
    repacked = victims & set(plan.repack)
    has_head = {partner.agreement for partner in told}
    rows = []
    for partner in vault.partners():
        cleared = hosts.cleared.get(partner.peer)
        if partner.agreement in has_head and cleared is not None:
            rows.append(_host(vault, partner, cleared.packs, cleared.size_bytes, cleared.lock_s, is_told=True))
        else:
            rows.append(count_host(vault, partner, frozenset(), is_told=False))
    sizes = vault.repository.ledger.sizes(victims)
    return PruneResult(
        deleted_packs=len(victims) - len(repacked),
        repacked_packs=len(repacked),
        kept_packs=plan.kept + len(plan.victims) - len(victims),
        freed_bytes=sum(sizes.values()),
        sent_bytes=sent_bytes,
        seconds=reporter.seconds,
        hosts=rows,
        peers=[format_peer_id(partner.peer) for partner in vault.partners() if partner.agreement in has_head],
        left_out=hosts.describe_left_out(hint=_LATER),
    )


def _host(vault: Vault, partner: Partner, packs: int, size_bytes: int, lock_s: int, *, is_told: bool) -> PruneHost:
    return PruneHost(
        peer_id=format_peer_id(partner.peer),
        name=partner.name,
        packs=packs,
        bytes=size_bytes,
        lock_s=lock_s,
        until=format_time(vault.clock.now_ms() + lock_s * 1000),
        told=is_told,
    )

"""What a prune means, host by host, for people and programs.

Knows: plan, ledger, agreements. Must not know: how it is done. A host erases when its lock is over, and counts the time
in which its agent runs: the date told is the soonest.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from backuppeer.agent.owner.clearing import Cleared, Withdrawal
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


@dataclass(slots=True)
class Drop:
    """What is dropped: victims of the plan, packs at hosts that no head names, and work that broke off."""

    victims: set[LogicalId]
    unfinished: set[LogicalId]
    strays: set[LogicalId] = field(default_factory=set)
    unfinished_bytes: int = 0


def count_host(
    vault: Vault,
    partner: Partner,
    gone: AbstractSet[LogicalId],
    unfinished: AbstractSet[LogicalId] = frozenset(),
    *,
    is_told: bool,
) -> PruneHost:
    """Return what a host has of the packs that go, those included of which it was not told before."""
    ledger = vault.repository.ledger
    sizes = [copy.size for copy in ledger.copies_at(partner.agreement) if copy.logical in gone]
    sizes += [copy.size for copy in ledger.doomed_at(partner.agreement, is_told=False)]
    at_once = [copy.size for copy in ledger.copies_at(partner.agreement) if copy.logical in unfinished]
    cleared = Cleared(len(sizes), sum(sizes), vault.lock_s(partner))
    return _host(vault, partner, cleared, Withdrawal(len(at_once), sum(at_once)), is_told=is_told)


def describe_plan(
    vault: Vault,
    plan: PrunePlan,
    drop: Drop,
    partners: Sequence[Partner],
    hosts: Gathering,
    *,
    room_bytes: int,
    wish_bytes: int | None,
) -> PlanShown:
    """Return a plan, with packs at hosts that no head names counted as deleted there; `wish_bytes`: to move at most."""
    gone, unfinished = drop.strays | drop.victims, drop.unfinished
    there = {partner.agreement for partner in partners}
    return PlanShown(
        packs=len(plan.victims) + plan.kept + len(unfinished),
        bytes=plan.total_bytes + drop.unfinished_bytes,
        delete_packs=len(plan.delete),
        delete_bytes=plan.delete_bytes,
        repack_packs=len(plan.repack),
        repack_bytes=plan.repack_bytes,
        move_bytes=plan.move_bytes,
        kept_packs=plan.kept,
        unfinished_packs=len(unfinished),
        unfinished_bytes=drop.unfinished_bytes,
        unlisted_packs=len(drop.strays),
        unlisted_bytes=vault.repository.ledger.measure(sorted(drop.strays)),
        unused_bytes=plan.unused_bytes,
        held_back=plan.held_back,
        is_room_short=wish_bytes is None or room_bytes < wish_bytes,
        room_bytes=room_bytes,
        hosts=[count_host(vault, p, gone, unfinished, is_told=p.agreement in there) for p in vault.partners()],
        left_out=hosts.describe_left_out(hint=_LATER),
    )


def describe_result(
    vault: Vault,
    plan: PrunePlan,
    drop: Drop,
    hosts: Gathering,
    told: Iterable[Partner],
    *,
    sent_bytes: int,
    reporter: Reporter,
) -> PruneResult:
    """Return what was done."""
    victims = drop.victims
    repacked = victims & set(plan.repack)
    has_head = {partner.agreement for partner in told}
    rows = []
    for partner in vault.partners():
        cleared = hosts.cleared.get(partner.peer)
        if partner.agreement in has_head and cleared is not None:
            withdrawn = hosts.withdrawn.get(partner.peer, Withdrawal())
            rows.append(_host(vault, partner, cleared, withdrawn, is_told=True))
        else:
            rows.append(count_host(vault, partner, frozenset(), is_told=False))
    freed_bytes = sum(vault.repository.ledger.sizes(victims).values()) + drop.unfinished_bytes
    return PruneResult(
        deleted_packs=len(victims) - len(repacked),
        repacked_packs=len(repacked),
        kept_packs=plan.kept + len(plan.victims) - len(victims),
        unfinished_packs=len(drop.unfinished),
        freed_bytes=freed_bytes,
        sent_bytes=sent_bytes,
        seconds=reporter.seconds,
        hosts=rows,
        peers=[format_peer_id(partner.peer) for partner in vault.partners() if partner.agreement in has_head],
        left_out=hosts.describe_left_out(hint=_LATER, with_untold=True),
    )


def _host(vault: Vault, partner: Partner, cleared: Cleared, withdrawn: Withdrawal, *, is_told: bool) -> PruneHost:
    return PruneHost(
        peer_id=format_peer_id(partner.peer),
        name=partner.name,
        packs=cleared.packs + withdrawn.packs,
        bytes=cleared.size_bytes + withdrawn.size_bytes,
        at_once_bytes=withdrawn.size_bytes,
        lock_s=cleared.lock_s,
        until=format_time(vault.clock.now_ms() + cleared.lock_s * 1000),
        told=is_told,
    )

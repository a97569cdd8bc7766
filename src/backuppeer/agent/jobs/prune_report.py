"""What a prune means, host by host, for people and programs.

Knows: plan, ledger, agreements. Must not know: how it is done. A host erases when its lock is over, and counts the time
in which its agent runs: the date told is the soonest.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from backuppeer.agent.owner.clearing import Cleared, Withdrawal
from backuppeer.agent.owner.gathering import Gathering
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.backup.prune_plan import PrunePlan
from backuppeer.clock import format_time
from backuppeer.control.pruning import PruneHost, PruneResult
from backuppeer.control.pruning import PrunePlan as PlanShown
from backuppeer.host.hold import held_s
from backuppeer.ids import AgreementId, LogicalId, StoredId, format_peer_id
from backuppeer.shares.copies import Copy

_LATER = "the next backup tells it"


@dataclass(slots=True)
class Drop:
    """What is dropped: victims of the plan, packs at hosts that no head names, and work that broke off.

    `at_once`: which copies a host says that it erases at once; hosts that could not be asked are left out.
    """

    victims: set[LogicalId]
    unfinished: set[LogicalId]
    strays: set[LogicalId] = field(default_factory=set)
    unfinished_bytes: int = 0
    strays_bytes: int = 0
    at_once: dict[AgreementId, set[StoredId]] = field(default_factory=dict)

    @property
    def unnamed(self) -> set[LogicalId]:
        """Return the packs that the newest head does not name: some hosts may erase them at once."""
        return self.unfinished | self.strays


def list_going(vault: Vault, partner: Partner, packs: AbstractSet[LogicalId]) -> list[Copy]:
    """Return the copies at a host that go with these packs, those included of which it was not told before."""
    ledger = vault.repository.ledger
    going = [copy for copy in ledger.copies_at(partner.agreement) if copy.logical in packs]
    return going + list(ledger.doomed_at(partner.agreement, is_told=False))


def count_host(
    vault: Vault, partner: Partner, drop: Drop, *, is_told: bool, spare_bytes: int | None = None
) -> PruneHost:
    """Return what a host has of the packs that go. `spare_bytes`: what it said may go before its hold doubles."""
    going, known = list_going(vault, partner, drop.unnamed | drop.victims), drop.at_once.get(partner.agreement)
    at_once = [copy.size for copy in going if known is not None and copy.stored in known]
    unclear = [copy.size for copy in going if known is None and copy.logical not in drop.victims]
    later_bytes = sum(copy.size for copy in going) - sum(at_once) - sum(unclear)
    is_doubled = spare_bytes is not None and later_bytes > spare_bytes
    hold_s = held_s(vault.lock_s(partner), is_doubled=is_doubled)
    cleared = Cleared(len(going) - len(at_once), later_bytes + sum(unclear), hold_s, is_doubled and hold_s > 0)
    shown = _host(vault, partner, cleared, Withdrawal(len(at_once), sum(at_once)), is_told=is_told)
    shown.unclear_bytes = sum(unclear)
    return shown


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
    unfinished = drop.unfinished
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
        unlisted_bytes=drop.strays_bytes,
        unused_bytes=plan.unused_bytes,
        held_back=plan.held_back,
        is_room_short=wish_bytes is None or room_bytes < wish_bytes,
        room_bytes=room_bytes,
        hosts=[
            count_host(vault, p, drop, is_told=p.agreement in there, spare_bytes=hosts.spare_bytes.get(p.peer))
            for p in vault.partners()
        ],
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
            rows.append(count_host(vault, partner, replace(drop, at_once={}), is_told=False))
    victims_bytes = sum(vault.repository.ledger.sizes(victims).values())
    return PruneResult(
        deleted_packs=len(victims) - len(repacked),
        repacked_packs=len(repacked),
        kept_packs=plan.kept + len(plan.victims) - len(victims),
        unfinished_packs=len(drop.unfinished),
        freed_bytes=victims_bytes + drop.unfinished_bytes + drop.strays_bytes,
        sent_bytes=sent_bytes,
        seconds=reporter.seconds,
        hosts=rows,
        peers=[format_peer_id(partner.peer) for partner in vault.partners() if partner.agreement in has_head],
        left_out=hosts.describe_left_out(hint=_LATER, with_untold=True),
        unfinished_bytes=drop.unfinished_bytes,
        unlisted_packs=len(drop.strays),
        unlisted_bytes=drop.strays_bytes,
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
        doubled=cleared.is_doubled,
    )

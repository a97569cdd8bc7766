"""What a check has found so far, and what can be done about it.

Knows: stocks of hosts, verdicts on copies, the ledger. Must not know: the order of the steps, what a person agrees to.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from backuppeer.agent.audits.proofreading import State, Verdict
from backuppeer.agent.audits.stocktaking import Stock
from backuppeer.agent.owner.losses import measure_named
from backuppeer.agent.owner.vault import Vault
from backuppeer.backup.checker import Checker
from backuppeer.clock import format_time
from backuppeer.control.checking import CheckedHost, CheckResult, Problem, Repair
from backuppeer.control.saving import LeftOut
from backuppeer.errors import NewerFormatError, Unavailable
from backuppeer.ids import AgreementId, BlobId, LogicalId, format_peer_id
from backuppeer.limits import CHECK_PROBLEMS
from backuppeer.shares.ledger import Copy
from backuppeer.trust.conduct import Bar

_HERE: Final = {
    "index": Repair(
        action="index", text="build the index again from the packs that hosts keep; the old one is kept beside"
    ),
    "ledger": Repair(action="ledger", text="build the ledger again from what hosts keep; the old one is kept beside"),
    "trees": Repair(action="trees", text="drop the wrong entries of the tree cache; they are fetched again"),
}
_FROM_HERE: Final = (
    "send folders and snapshots that are with no host whole, from this machine; the files in them come with the next "
    "`backup-peer backup` of the same folders"
)


@dataclass(slots=True)
class Findings:
    """Filled from several threads; `note` and `take` lock."""

    vault: Vault
    stocks: dict[AgreementId, Stock] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    abouts: set[str] = field(default_factory=set)
    spoiled: list[Verdict] = field(default_factory=list)
    read_copies: int = 0
    read_bytes: int = 0
    by_host: dict[AgreementId, int] = field(default_factory=dict)
    unread: dict[AgreementId, Unavailable] = field(default_factory=dict)
    newer: set[str] = field(default_factory=set)
    # Packs that hold something of the snapshots looked at, or of the list of all.
    needed: set[LogicalId] = field(default_factory=set)
    spare: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def heard(self) -> list[Stock]:
        """Return the stocks of the hosts that could be asked."""
        return [stock for stock in self.stocks.values() if stock.away is None]

    def note(self, about: str, text: str, *, stock: Stock | None = None) -> None:
        """Note a problem, once."""
        peer = format_peer_id(stock.partner.peer) if stock else ""
        with self._lock:
            self.abouts.add(about)
            if len(self.problems) < CHECK_PROBLEMS and all(problem.text != text for problem in self.problems):
                self.problems.append(Problem(about=about, text=text, peer_id=peer))

    def take(self, verdict: Verdict) -> None:
        """Take what came of reading one copy."""
        agreement = verdict.copy.agreement
        with self._lock:
            if isinstance(verdict.error, Unavailable):
                self.unread[agreement] = verdict.error
            elif isinstance(verdict.error, NewerFormatError):
                self.newer.add(verdict.error.message)
            if verdict.state is State.UNREAD:
                return
            self.read_copies += 1
            self.read_bytes += verdict.copy.size
            if verdict.state is State.WHOLE:
                self.by_host[agreement] = self.by_host.get(agreement, 0) + verdict.copy.size
                self.stocks[agreement].spoiled.pop(verdict.copy.stored, None)
            else:
                self.spoiled.append(verdict)
                self.stocks[agreement].spoiled[verdict.copy.stored] = verdict.copy.logical

    def lost_by_host(self) -> dict[AgreementId, int]:
        """Return the bytes of the packs that each host did not give, or gave wrong, and must have."""
        lost: dict[AgreementId, list[Copy]] = {}
        for verdict in self.spoiled:
            if not verdict.is_given:
                lost.setdefault(verdict.copy.agreement, []).append(verdict.copy)
        heads = {name: self.vault.heads.vouched_head(self.stocks[name].partner) for name in lost}
        return {name: measure_named(self.vault.repository, heads[name], copies) for name, copies in lost.items()}

    def is_readable(self, copy: Copy) -> bool:
        """Whether a copy can be asked for now: it is listed, and its host did not go away since."""
        stock = self.stocks.get(copy.agreement)
        return stock is not None and copy.stored in stock.listed and copy.agreement not in self.unread

    def _may_be_had(self, copies: Iterable[Copy]) -> bool:
        """Whether some host has one of these that is not known to be wrong, or may have it and is away."""
        stocks = ((copy, self.stocks.get(copy.agreement)) for copy in copies)
        return any(stock is not None and (stock.has(copy) or stock.away is not None) for copy, stock in stocks)

    def judge_packs(self, packs: Iterable[LogicalId], checker: Checker) -> None:
        """Find the packs that nobody keeps whole, and mark the blobs that are lost with them.

        A pack that no snapshot needs is no problem, whatever became of it: what was lost with it was sent again.
        """
        ledger, index = self.vault.repository.ledger, self.vault.repository.index
        nowhere = spoiled = unplaced = spare = 0
        unknown = sum(stock.unknown for stock in self.heard)
        for pack in packs:
            copies = ledger.copies_of(pack)
            if self._may_be_had(copies):
                continue
            if unknown and not copies:
                unplaced += 1  # it may well be one of those that a host lists and nobody here knows
            elif pack not in self.needed:
                spare += 1
            elif any(self.is_readable(copy) for copy in copies):
                spoiled += 1
            elif lost := self._without_spare(place.blob for place in index.locations_in(pack)):
                nowhere += 1
                checker.mark_bad(lost)
            else:
                spare += 1  # all of it lies in further packs, where readers find it
        for verdict in self.spoiled:
            self._mark_lost(verdict, checker)
        self.spare = spare
        self._note_packs(unplaced=unplaced, nowhere=nowhere, spoiled=spoiled)

    def _note_packs(self, *, unplaced: int, nowhere: int, spoiled: int) -> None:
        total, unknown = len(self.needed), sum(stock.unknown for stock in self.heard)
        if unplaced:
            self.note("ledger", f"the ledger does not say where {unplaced} packs lie; hosts list {unknown} others")
        if nowhere:
            self.note("packs", f"{nowhere} of {total} packs that snapshots need are with no host: lost or withheld")
        if spoiled:
            self.note(
                "packs", f"{spoiled} of {total} packs that snapshots need are with no host whole; parts can be read"
            )

    def _mark_lost(self, verdict: Verdict, checker: Checker) -> None:
        """Mark the blobs that could not be had from a copy, where no other copy may have them."""
        repository, pack = self.vault.repository, verdict.copy.logical
        if not self._may_be_had(repository.ledger.copies_of(pack)):
            places = repository.index.find_many(verdict.bad)
            checker.mark_bad(self._without_spare(blob for blob, at in places.items() if at.pack == pack))

    def _without_spare(self, blobs: Iterable[BlobId]) -> list[BlobId]:
        """Return those of the blobs that lie in no further pack which may be had."""
        wanted, repository = list(blobs), self.vault.repository
        spares = repository.index.find_spares(wanted)
        packs = {place.pack for places in spares.values() for place in places}
        there = {pack for pack in packs if self._may_be_had(repository.ledger.copies_of(pack))}
        return [blob for blob in wanted if not any(place.pack in there for place in spares.get(blob, ()))]

    def judge_hosts(self) -> None:
        """Tell what each host lost, or returned wrong."""
        for stock in self.heard:
            name = stock.partner.name
            for about, text in stock.faults:
                self.note(about, text, stock=stock)
            if unexcused := len(stock.missing) - stock.excused:
                self.note("packs", f"{name} lost {_count(unexcused, 'pack')} that it had acknowledged", stock=stock)
            if (lost := len(self._lost_before(stock))) and not stock.missing:
                self.note("packs", f"{name} lacks {_count(lost, 'pack')}: it lost what it kept", stock=stock)
            if wrong := self._count_wrong(stock):
                when = self.vault.repository.ledger.spoiled_at(stock.partner.agreement)
                last = format_time(max(when.get(stored, 0) for stored in stock.spoiled))[:10]
                self.note("packs", f"{name} returned {_count(wrong, 'pack')} wrong (last on {last})", stock=stock)

    def _count_wrong(self, stock: Stock) -> int:
        return sum(pack in self.needed for pack in stock.spoiled.values())

    def plan_repairs(self) -> list[Repair]:
        """Return what could be mended here, and with which hosts."""
        repairs = [repair for about, repair in _HERE.items() if about in self.abouts]
        texts = [text for stock in self.heard for text in self._plan_copies(stock)]
        if any(problem.text for problem in self.problems if problem.about == "packs" and not problem.peer_id):
            texts.append(_FROM_HERE)
        if not texts and self.abouts & {"head", "packs"}:
            texts.append("leave the newest state with every host")
        if texts:
            repairs.append(Repair(action="copies", text="; ".join(texts)))
        return repairs

    def _lost_before(self, stock: Stock) -> list[LogicalId]:
        """Return what a host lacks that lost much, and gets nothing by a backup: the ledger counts it there no more."""
        standing, partner = self.vault.standing, stock.partner
        if standing.bar(partner.peer) is not Bar.LOST or standing.conduct(partner.peer).is_healed:
            return []
        return list(self.vault.repository.ledger.missing_at(partner.agreement, sorted(self.needed)))

    def _plan_copies(self, stock: Stock) -> list[str]:
        ledger = self.vault.repository.ledger
        lacking = {*stock.missing, *stock.spoiled.values(), *self._lost_before(stock)} & self.needed
        count = sum(self._may_be_had(ledger.copies_of(pack)) for pack in lacking)
        return [f"copy {_count(count, 'pack')} to {stock.partner.name} from another host"] if count else []

    def report(self, *, snapshots: int, packs: int, hits: tuple[int, Sequence[str]], seconds: float) -> CheckResult:
        """Return all of it."""
        hosts = [self._describe(stock) for stock in self.stocks.values()]
        known = [host.oldest_verified for host in hosts if host.oldest_verified]
        return CheckResult(
            snapshots=snapshots,
            packs=packs,
            problems=self.problems,
            files_hit=hits[0],
            snapshots_hit=list(hits[1]),
            read_copies=self.read_copies,
            read_bytes=self.read_bytes,
            copies=sum(host.copies for host in hosts),
            unread_copies=sum(host.unread for host in hosts),
            oldest_verified=min(known, default=""),
            hosts=hosts,
            repairs=self.plan_repairs(),
            left_out=self._describe_left_out(),
            seconds=seconds,
        )

    def _describe(self, stock: Stock) -> CheckedHost:
        partner, ledger = stock.partner, self.vault.repository.ledger
        unread, oldest_ms = ledger.oldest_verification(partner.agreement)
        # Not what it lost: that is a problem of its own.
        elsewhere = ledger.missing_at(partner.agreement, sorted(self.needed)) if stock.away is None else ()
        lacking = [pack for pack in elsewhere if self._may_be_had(ledger.copies_of(pack))]
        return CheckedHost(
            peer_id=format_peer_id(partner.peer),
            alias=self.vault.alias(partner.peer),
            reached=stock.away is None,
            head=stock.head,
            copies=ledger.count(partner.agreement) - sum(1 for _ in ledger.doomed_at(partner.agreement)),
            missing=len(stock.missing),
            damaged=self._count_wrong(stock),
            unread=unread,
            oldest_verified=format_time(oldest_ms) if oldest_ms else "",
            lacking=len(lacking),
            lacking_bytes=ledger.measure(lacking),
        )

    def _describe_left_out(self) -> list[LeftOut]:
        gone = [(stock.partner, stock.away or self.unread.get(agreement)) for agreement, stock in self.stocks.items()]
        return [
            LeftOut(
                peer_id=format_peer_id(partner.peer),
                name=partner.name,
                reason=error.message,
                hint="run the same check again when it is back",
            )
            for partner, error in gone
            if error is not None
        ]


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"

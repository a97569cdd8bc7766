"""Which packs every host should hold: what the newest head names, but for waste (ADR 55).

Knows: the states of packs, copies in the ledger, what is known to be waste. Must not know: sessions, how waste is
found. All that copies, measures or says that a host lags asks here, so that what is said is what is done.

*Pending* packs are those that no head names: of work that is under way or broke off. *Waste* is what the head names
and no snapshot needs, since its snapshots were forgotten: a prune drops it. Which packs that are is known of one head,
by its hash, and of no other; and as long as no pack goes, since what lay in that one may be needed of another then.
"""

from collections.abc import Iterable
from typing import Final

from backuppeer.agent.home.rows import cut_rows
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.heads import HeadChain
from backuppeer.agent.owner.repository import Repository
from backuppeer.backup.streams import PackSource
from backuppeer.errors import IntegrityFault
from backuppeer.ids import AgreementId, LogicalId
from backuppeer.limits import WASTE_PACKS
from backuppeer.proof.statements import statement_hash
from backuppeer.repo.head import check_inventory, decode_root

_WASTE: Final = "packs.waste"
_NAME_BYTES: Final = 48
"""The hash of a head, then the epoch of the index."""
_ID_BYTES: Final = 16


class Owed:
    """What the hosts of one repository should hold now."""

    def __init__(self, repository: Repository, heads: HeadChain, state: State) -> None:
        self._repository, self._heads, self._state = repository, heads, state
        if repository.is_anew:
            # A blob that lies in two packs may be found in the other one now.
            state.put_setting(_WASTE, b"")
            repository.is_anew = False

    def packs(self) -> list[LogicalId]:
        """Return the packs that every host should hold, in order of registration; without any head none."""
        if self._heads.newest() is None:
            return []
        waste = self.waste() or frozenset()
        return [pack for pack in self._repository.index.turnover.named() if pack not in waste]

    def pending(self) -> set[LogicalId]:
        """Return the packs that no head names yet."""
        index = self._repository.index
        return index.turnover.fresh() if self._heads.newest() is not None else set(index.packs())

    def is_whole(self) -> bool:
        """Whether the index knows just the snapshots and packs of the newest head, and can read the snapshots."""
        newest, index = self._heads.newest(), self._repository.index
        if newest is None:
            return True
        names = index.snapshot_names()
        try:
            check_inventory(newest[0], list(names), list(index.packs()))
        except IntegrityFault:
            return False
        return all(names.values())

    def settle(self) -> bool:
        """Say `is_whole`, and then have all packs be named: a head that stands does, though its job broke off there.

        Raises:
            LocalError: the disk is full.

        """
        index, is_whole = self._repository.index, self.is_whole()
        if is_whole and self._heads.newest() is not None:
            index.turnover.name(index.packs())
        return is_whole

    def lacking_at(self, agreement: AgreementId) -> list[LogicalId]:
        """Return what of it is not whole at a host, as far as the ledger knows."""
        return list(self._repository.ledger.lacking_at(agreement, self.packs()))

    def measure_lacking(self, agreement: AgreementId) -> int:
        """Return the bytes of what a host lacks and another one is known to hold."""
        return self._repository.ledger.measure(self.lacking_at(agreement))

    def waste(self) -> frozenset[LogicalId] | None:
        """Return the packs of the newest head that no snapshot needs; None: it was not looked at."""
        kept, name = self._state.setting(_WASTE), self.head()
        if kept is None or not name or kept[:_NAME_BYTES] != name + self._repository.index.turnover.epoch():
            return None
        return frozenset(map(LogicalId, cut_rows(kept[_NAME_BYTES:], _ID_BYTES)))

    def note_waste(self, head: bytes, epoch: bytes, packs: Iterable[LogicalId]) -> None:
        """Note which packs of a head (its `head`) no snapshot needs; beyond WASTE_PACKS they count as owed.

        `epoch`: of the index, before that was counted.
        """
        self._state.put_setting(_WASTE, head + epoch + b"".join(sorted(packs)[:WASTE_PACKS]))

    def conceal_missing(self, agreements: Iterable[AgreementId]) -> None:
        """Let the next backup send anew what one of these hosts lacks, but pending packs that another of them has.

        If the backup goes on from those, they are copied before its head is made.
        """
        index, ledger = self._repository.index, self._repository.ledger
        lacking = [set(ledger.lacking_at(name, index.packs())) for name in agreements]
        lacked = {pack for each in lacking for pack in each}
        held = {pack for pack in lacked if not all(pack in each for each in lacking)}
        index.conceal(lacked - (held & self.pending()))

    def lists(self) -> set[LogicalId]:
        """Return the packs with the list of the newest head, as far as that is in the cache."""
        newest = self._heads.newest()
        if newest is None:
            return set()
        root = self._repository.cache.get(newest[0].index)
        pieces = decode_root(root)[1] if root is not None else ()
        return {place.pack for place in self._repository.index.find_many([newest[0].index, *pieces]).values()}

    def all_lists(self, source: PackSource) -> set[LogicalId]:
        """Return the packs with the list of the newest head.

        Raises:
            IntegrityFault: a part of it is in no known pack, or can't be had.
            Unavailable: who has it is away.

        """
        newest = self._heads.newest()
        if newest is None:
            return set()
        blobs = {newest[0].index, *decode_root(self._repository.read_blob(source, newest[0].index))[1]}
        places = self._repository.index.find_many(blobs)
        if places.keys() != blobs:
            raise IntegrityFault("a part of the list of packs is in no known pack")
        return {place.pack for place in places.values()}

    def head(self) -> bytes:
        """Return the hash of the newest head, 32 bytes; b"" without any."""
        newest = self._heads.newest()
        return statement_hash(newest[1]) if newest else b""

"""Old snapshots that go by themselves, and space that is freed by itself (ADR 88).

Knows: the rules of sets, what was forgotten and pruned when. Must not know: when backups are due, how a prune goes.

After a scheduled backup that is whole, the rules of its set are applied to its snapshots, as `forget --set` does; after
any other nothing goes: what it was to replace may be all there is. What only forgotten snapshots held is pruned once a
week at most. Both only in a home that may write, and never beside another job. When it was is kept, so a restart
neither forgets nor repeats it.
"""

import asyncio

import msgspec
import structlog

from backuppeer.agent.heap import returning_memory
from backuppeer.agent.home.config import read_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.schedule import parse_schedule, period_s
from backuppeer.agent.home.sets import BackupSet, find_set
from backuppeer.agent.home.state import State
from backuppeer.agent.jobs.amend import AmendJob
from backuppeer.agent.jobs.caution import check_folders, choose_victims
from backuppeer.agent.jobs.forgetting import apply_retention, plan_forgetting
from backuppeer.agent.jobs.prune import PruneJob
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.reporter import reporting
from backuppeer.backup.amending import Amendment
from backuppeer.backup.browse import find_snapshot
from backuppeer.backup.trees import TreeReader
from backuppeer.clock import format_time
from backuppeer.control.amendments import ForgetRequest
from backuppeer.control.events import Event
from backuppeer.control.pruning import PruneRequest
from backuppeer.control.saving import BackupResult
from backuppeer.control.scheduling import Pruned
from backuppeer.errors import BackupPeerError
from backuppeer.ids import SnapshotId
from backuppeer.limits import PRUNE_AGAIN_S, PRUNE_BY_ITSELF_BYTES, PRUNE_BY_ITSELF_S
from backuppeer.repo.snapshot import Snapshot

_log = structlog.get_logger()
_SETTING = "housekeeping"


class Forgotten(msgspec.Struct):
    """What became of old snapshots of a set the last time. problem: why none went, or empty."""

    time_ms: int = 0
    count: int = 0
    problem: str = ""


class Book(msgspec.Struct):
    """What is kept: of each set, when something was forgotten last, and of the last prune and the last try."""

    sets: dict[str, Forgotten] = {}
    forgot_ms: int = 0
    pruned_ms: int = 0
    freed_bytes: int = 0
    tried_ms: int = 0
    problem: str = ""


async def _tell_nobody(event: Event) -> None:
    del event


class Housekeeping:
    """The old snapshots of one home."""

    def __init__(self, vault: Vault, home: Home, state: State) -> None:
        self._vault, self._home, self._state = vault, home, state
        self._book = self._read()

    def forgotten(self, name: str) -> Forgotten:
        """Return what became of old snapshots of a set the last time."""
        return self._book.sets.get(name, Forgotten())

    def describe(self) -> Pruned:
        """Return when something was pruned last, and what went wrong since."""
        book = self._book
        return Pruned(
            time=format_time(book.pruned_ms) if book.pruned_ms else "",
            freed_bytes=book.freed_bytes,
            failed=format_time(book.tried_ms) if book.problem else "",
            failure=book.problem,
        )

    async def forget(self, name: str, made: BackupResult) -> None:
        """Apply the rules of a set after its scheduled backup; what goes wrong is noted and tried after the next."""
        sets = read_config(self._home).sets
        chosen = find_set(sets, name)
        if not chosen.auto_forget or not chosen.retention.policy().has_rule:
            self._book.sets.pop(name, None)
            return
        noted = self.forgotten(name)
        noted.problem = _find_gap(made)
        if not noted.problem and not self._vault.busy.locked():
            try:
                count = await self._apply(chosen, apply_retention(ForgetRequest(set=name), sets), made)
            except BackupPeerError as exc:
                noted.problem = exc.message
                _log.warning("nothing forgotten", set=name, reason=exc.message)
            else:
                self._note_forgotten(noted, count)
        self._book.sets[name] = noted
        self._write()

    async def prune_if_due(self) -> bool:
        """Free what only forgotten snapshots held, if it is time; return whether that was tried.

        What backups that broke off have sent stays: they go on from there, and only a person knows of those that don't.
        """
        if not self._is_due():
            return False
        request = PruneRequest(agreed=True, keep_unfinished=True, max_repack_bytes=PRUNE_BY_ITSELF_BYTES)
        book, vault = self._book, self._vault
        book.tried_ms = vault.clock.now_ms()
        try:
            vault.check_writable()
            async with vault.pruning, returning_memory(), reporting(_tell_nobody) as reporter:
                result = await PruneJob(vault, request, reporter).run()
        except BackupPeerError as exc:
            book.problem = exc.message
            _log.warning("scheduled prune failed", reason=exc.message)
        else:
            book.problem, book.pruned_ms, book.freed_bytes = "", book.tried_ms, result.freed_bytes
            _log.info("scheduled prune", freed_bytes=result.freed_bytes)
        self._write()
        return True

    def _is_due(self) -> bool:
        book, now_ms = self._book, self._vault.clock.now_ms()
        if max(book.forgot_ms, book.pruned_ms, book.tried_ms) > now_ms:  # by a clock that was ahead
            # Which came first is not known any more: one prune too many costs little.
            book.forgot_ms = min(book.forgot_ms, now_ms)
            book.tried_ms = min(book.tried_ms, now_ms - PRUNE_AGAIN_S * 1000)
            book.pruned_ms = min(book.pruned_ms, max(0, book.forgot_ms - 1))
            self._write()
        if book.forgot_ms <= book.pruned_ms or self._vault.busy.locked() or self._vault.pruning.locked():
            return False
        is_week_over = now_ms - book.pruned_ms >= PRUNE_BY_ITSELF_S * 1000
        return is_week_over and now_ms - book.tried_ms >= PRUNE_AGAIN_S * 1000

    async def _apply(self, chosen: BackupSet, request: ForgetRequest, made: BackupResult) -> int:
        """Forget what the rules of a request say; return how many snapshots went."""
        vault = self._vault
        spread_s = period_s(parse_schedule(chosen.schedule)) if chosen.schedule else 0

        def choose() -> dict[SnapshotId, Snapshot]:
            plan, now_ms, within_s = plan_forgetting(vault, request), vault.clock.now_ms(), request.keep_within_s
            victims = choose_victims(plan, made, now_ms=now_ms, within_s=within_s, period_s=spread_s)
            return {name: plan.known[name] for name in victims}

        def decide() -> Amendment:
            return Amendment(forgotten=frozenset(choose().keys() & seen.keys()))

        vault.check_writable()
        async with vault.busy, returning_memory(), reporting(_tell_nobody) as reporter:
            if not (seen := choose()):
                return 0
            _, newest = find_snapshot(vault.repository.index, made.snapshot)
            await asyncio.to_thread(check_folders, self._open_trees(), seen.values(), newest)
            done = await AmendJob(vault, reporter).run(decide)
        return len(done.amendment.forgotten)

    def _open_trees(self) -> TreeReader:
        repository, source = self._vault.repository, self._vault.source(wait_s=0)
        return TreeReader(repository.keys, repository.index, cache=repository.cache, source=source)

    def _note_forgotten(self, noted: Forgotten, count: int) -> None:
        if count:
            noted.time_ms, noted.count = self._vault.clock.now_ms(), count
            self._book.forgot_ms = noted.time_ms
            _log.info("snapshots forgotten by their rules", count=count)

    def _read(self) -> Book:
        try:
            return msgspec.json.decode(self._state.setting(_SETTING) or b"{}", type=Book)
        except msgspec.DecodeError:
            return Book()  # times alone: what is forgotten next is noted again

    def _write(self) -> None:
        self._state.put_setting(_SETTING, msgspec.json.encode(self._book))


def _find_gap(made: BackupResult) -> str:
    """Return why a backup is not whole, so that none goes for it; empty if it is."""
    if made.errors:
        return "the newest backup could not read everything: all stay"
    if len(made.peers) - len(made.ending) - len(made.together) < made.copies:
        return "the newest backup has too few copies: all stay"
    return ""

"""Commands of the owner: connect, back up, look, restore (control.api routes).

Knows: which job serves which route. Must not know: HTTP, how a job works.
"""

import asyncio
import os
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backuppeer.agent.agent import Agent
from backuppeer.agent.commands.apart import describe_spare, find_risks
from backuppeer.agent.heap import returning_memory
from backuppeer.agent.home.config import read_config
from backuppeer.agent.jobs.backup import BackupJob, Stream
from backuppeer.agent.jobs.lookup import Lookup
from backuppeer.agent.jobs.restore import RestoreJob
from backuppeer.agent.jobs.rows import make_entry_row
from backuppeer.agent.jobs.set_run import run_backup
from backuppeer.agent.owner.ending import describe_endings
from backuppeer.agent.owner.losses import Witnesses, check_choice
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.misbinding import NO_COMPARISON, NOTHING_NEW, refuse_doubted
from backuppeer.agent.peers.names import alias_of, check_alias, name_of, resolve_peer
from backuppeer.agent.peers.neighbours import use_lan
from backuppeer.agent.peers.offers import check_storage, describe_promises
from backuppeer.agent.peers.words import spell_safety_words
from backuppeer.agent.recovery.reminding import remind_of_terms
from backuppeer.agent.reporter import Emit, Reporter, reporting
from backuppeer.backup.amending import ORIGINAL
from backuppeer.backup.browse import (
    SnapshotFilter,
    find_snapshot,
    list_entries,
    list_roots,
    list_snapshots,
    refuse_unknown_set,
)
from backuppeer.backup.retention import check_group_by, pick_latest
from backuppeer.backup.streams import PackSource
from backuppeer.backup.trees import TreeReader
from backuppeer.clock import format_time
from backuppeer.control.api import (
    ConnectRequest,
    ConnectResult,
    EntryRow,
    LsRequest,
    SnapshotRow,
    SnapshotsRequest,
)
from backuppeer.control.choosing import ConnectPlan, ConnectPlanRequest
from backuppeer.control.inflow import Inflow
from backuppeer.control.restoring import RestorePlan, RestoreRequest, RestoreResult
from backuppeer.control.saving import BackupRequest, BackupResult, StreamRequest
from backuppeer.errors import IntegrityFault, LocalError, NotFoundError, PeerUnreachable, RefusedError, UserError
from backuppeer.ids import PeerId, SnapshotId, format_peer_id
from backuppeer.limits import LOCK_DEFAULT_S, LS_ROWS, TERM_DEFAULT_S
from backuppeer.proof.promises import NOTHING, Promises, join_promises
from backuppeer.proof.revisions import promises_of
from backuppeer.repo.snapshot import Snapshot, find_newer


class OwnerCommands:
    """connect/plan, connect, backup, snapshots, ls, restore/plan, restore."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts = agent, agent.parts

    async def plan(self, request: ConnectPlanRequest, _: Emit) -> ConnectPlan:
        """Return what connecting to a host would mean, for the person to decide on."""
        use_lan(request.lan)
        peer = self._resolve(request.peer)
        check_alias(self._parts.state, request.name, peer)
        agreement = self._agent.owner.connecting.agreement_with(peer)
        free, term_s, lock_s, promises = 0, TERM_DEFAULT_S, LOCK_DEFAULT_S, NOTHING
        if agreement is None:
            self._check_may_ask(peer)
            free, term_s, lock_s, promises = await self._offer_of(peer, self._agent.servers(request.servers))
        words = await spell_safety_words(self._parts.keys.peer, peer)
        regard = self._parts.views.explaining.regard(peer)
        return ConnectPlan(
            peer_id=format_peer_id(peer),
            alias=alias_of(self._parts.state, peer),
            safety_words=words,
            agreed=agreement is not None,
            free_bytes=free,
            term_s=agreement.term_s if agreement else term_s,
            lock_s=agreement.lock_s if agreement else lock_s,
            trust=regard.trust,
            trust_level=regard.level,
            capped=regard.capped,
            reason=regard.reason,
            risks=find_risks(self._agent, peer),
            promises=describe_promises(promises_of(agreement) if agreement else promises),
            cap_bytes=self._agent.owner.vault.exposing.cap(peer),
        )

    async def connect(self, request: ConnectRequest, emit: Emit) -> ConnectResult:
        """Agree with a host."""
        use_lan(request.lan)
        peer = self._resolve(request.peer)
        if self._agent.owner.connecting.agreement_with(peer) is None:
            check_storage(request.storage, example="backup-peer connect PEER --storage 10GB")
            if not request.confirmed:
                raise UserError("connecting to a new peer needs a yes", hint="answer the question, or give --yes")
        self._check_may_ask(peer)
        if request.verified:
            refuse_doubted(self._parts.state, peer, NO_COMPARISON)
        reporter = Reporter(emit)
        servers = self._agent.servers(request.servers)
        self._agent.owner.slots.note_servers(servers)
        session = await self._agent.owner.connecting.connect(peer, request, servers, reporter.state)
        agreement = self._agent.owner.connecting.agreement_with(peer)
        if agreement is None:
            raise LocalError("connected without an agreement")
        await reporter.state("connected", f"connected to {name_of(self._parts.state, peer)}")
        return ConnectResult(
            peer_id=format_peer_id(peer),
            alias=alias_of(self._parts.state, peer),
            safety_words=await spell_safety_words(self._parts.keys.peer, peer),
            session=session.state,
            quota_bytes=agreement.size_bytes,
        )

    async def backup(self, request: BackupRequest, emit: Emit) -> BackupResult:
        """Make a snapshot."""
        # What a host agreed to meanwhile counts from this backup on: it may be just the room that it needs.
        await self._agent.owner.revising.follow_up()
        async with self._at_work(emit) as (vault, reporter):
            result = await run_backup(vault, self._parts.home, request, reporter)
            state, debts = self._parts.state, self._agent.host.reciprocity.describe_ours()
            now_ms = self._parts.clock.now_ms()
            for note in [*describe_endings(state), *remind_of_terms(state, now_ms), *debts]:
                reporter.note(note)
            return self._weigh(result)

    async def backup_stream(self, request: StreamRequest, emit: Emit, inflow: Inflow) -> BackupResult:
        """Make a snapshot of what a command is fed with."""
        stream = Stream(request.name, inflow.read_into)
        async with self._at_work(emit) as (vault, reporter):
            return self._weigh(await BackupJob(vault, request, reporter, stream).run())

    def _weigh(self, result: BackupResult) -> BackupResult:
        """Note which of the copies count as one, of hosts that go on with us."""
        ending = {host.peer_id for host in result.ending}
        result.together = describe_spare(self._agent, [peer for peer in result.peers if peer not in ending])
        return result

    @asynccontextmanager
    async def _at_work(self, emit: Emit) -> AsyncIterator[tuple[Vault, Reporter]]:
        vault = self._agent.owner.vault
        vault.check_idle()
        async with vault.busy, returning_memory(), reporting(emit) as reporter:
            yield vault, reporter

    async def snapshots(self, request: SnapshotsRequest, emit: Emit) -> list[SnapshotRow]:
        """Return own snapshots, oldest first."""
        await self._hear(emit)
        return await asyncio.to_thread(self._snapshots, request)

    async def _hear(self, emit: Emit) -> None:
        """Ask the hosts what they keep, once, in a home that came in a file."""
        vault = self._agent.owner.vault
        if not vault.is_unrecovered and vault.heads.is_awaited:
            async with self._at_work(emit) as (_, reporter):
                await Lookup(vault, reporter).mend(copies=True)

    async def ls(self, request: LsRequest, emit: Emit) -> list[EntryRow]:
        """Return entries of a snapshot."""
        await self._hear(emit)
        source = self._agent.owner.vault.source()
        return await asyncio.to_thread(self._entries, request, source)

    async def restore(self, request: RestoreRequest, emit: Emit) -> RestoreResult:
        """Bring files back."""
        async with returning_memory(), reporting(emit) as reporter:
            return await RestoreJob(self._agent.owner.vault, request, reporter, emit).run()

    async def plan_restore(self, request: RestoreRequest, emit: Emit) -> RestorePlan:
        """Say what a restore would replace."""
        async with reporting(emit) as reporter:
            return await RestoreJob(self._agent.owner.vault, request, reporter, emit).plan()

    def _resolve(self, text: str) -> PeerId:
        peer = resolve_peer(self._parts.state, text)
        if peer == self._parts.keys.peer:
            raise UserError("that is your own id", hint="choose another peer: `backup-peer browse`")
        return peer

    def _check_may_ask(self, peer: PeerId) -> None:
        """Refuse, before a question, hosts that are blocked or may be others, and homes that can't fill one."""
        if (reason := self._parts.state.blocks.reason(peer)) is not None:
            name = name_of(self._parts.state, peer)
            why = f": {reason}" if reason else ""
            raise RefusedError(
                f"you blocked {name}{why}", hint=f"`backup-peer unblock {shlex.quote(name)}` takes that back"
            )
        if self._agent.owner.connecting.agreement_with(peer) is None:
            refuse_doubted(self._parts.state, peer, NOTHING_NEW)
            self._agent.owner.vault.check_writable()

    def _say_where(self, servers: list[str]) -> str:
        """Return where an offer was looked for."""
        places = f"at {', '.join(servers)}" if servers else ""
        network = "in this network" if self._agent.owner.market.neighbours.is_allowed() else ""
        return " or ".join(filter(None, (places, network))) or "at any server"

    async def _offer_of(self, peer: PeerId, servers: list[str]) -> tuple[int, int, int, Promises]:
        found = await self._agent.owner.knocking.find(peer, servers)
        if found is None:
            raise PeerUnreachable(
                f"{name_of(self._parts.state, peer)} is not on offer {self._say_where(servers)}",
                hint="it may be offline or use other servers: ask its person, or `backup-peer browse` for others",
            )
        listing = found.listing
        promises = join_promises(listing.availability, listing.ext)
        owed = await asyncio.to_thread(self._agent.host.reciprocity.owed_to_us, peer)
        if owed.lacking_bytes:
            # What a peer owes is given without a question if nothing beyond it is asked for (ADR 51, 70).
            promises = promises._replace(availability=0)
        return listing.free_bytes, listing.term_s, listing.lock_s, promises

    def _snapshots(self, request: SnapshotsRequest) -> list[SnapshotRow]:
        if self._agent.owner.vault.is_unrecovered:
            raise NotFoundError(
                "the recovery of this home is not finished: no snapshots have been found yet",
                hint="run `backup-peer recover` again, it goes on without the words",
            )
        index = self._agent.owner.vault.repository.index
        if self._agent.owner.vault.heads.newest() is not None and next(index.packs(), None) is None:
            raise IntegrityFault(
                "this machine has lost its list of snapshots; your hosts have it",
                hint="`backup-peer check --repair` brings it back, and so does any restore",
            )
        wanted = SnapshotFilter(
            set_name=request.set,
            hosts=tuple(request.hosts),
            tags=tuple(request.tags),
            path=os.fsencode(request.path),
        )
        if request.set and request.set not in read_config(self._parts.home).sets:
            refuse_unknown_set(index, request.set)  # one that is kept may simply not have been run yet
        keepers = self._agent.owner.vault.complete_hosts()
        peers, proven = [format_peer_id(peer) for peer in keepers], self._agent.owner.auditor.proven_ms(keepers)
        is_whole_list = wanted == SnapshotFilter() and not request.latest
        names = index.snapshot_names() if is_whole_list else {}
        newer = find_newer(index.snapshots()) if is_whole_list else {}
        missing = [
            SnapshotRow(snapshot=name.hex(), time="", paths=[], files=0, bytes=0, peers=[], missing=True)
            for name, is_here in names.items()
            if not is_here or name in newer
        ]
        found = pick_latest(list_snapshots(index, wanted), request.latest, check_group_by(request.group_by))
        parted = self._agent.owner.vault.incomplete
        rows = [_snapshot_row(name, snapshot, peers, is_whole=name not in parted) for name, snapshot in found]
        for row, (_, snapshot) in zip(rows, found, strict=True):
            if not row.incomplete and proven > snapshot.time_ns // 1_000_000:
                row.last_proven = format_time(proven)
        return missing + rows

    def _entries(self, request: LsRequest, source: PackSource) -> list[EntryRow]:
        repository = self._agent.owner.vault.repository
        chosen, snapshot = find_snapshot(repository.index, request.snapshot, SnapshotFilter(set_name=request.set))
        check_choice(request.snapshot, chosen, self._agent.owner.vault.named_losses(), Witnesses())
        trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=source)
        rows: list[EntryRow] = []
        if request.path:
            visits = list_entries(trees, snapshot, os.fsencode(request.path), recursive=request.recursive)
        else:
            visits = list_roots(trees, snapshot, recursive=request.recursive)
        for visit in visits:
            if len(rows) >= LS_ROWS:
                raise UserError(f"more than {LS_ROWS} entries", hint="name a folder: `backup-peer ls SNAPSHOT:PATH`")
            rows.append(make_entry_row(visit))
        return rows


def _snapshot_row(snapshot_id: SnapshotId, snapshot: Snapshot, peers: list[str], *, is_whole: bool) -> SnapshotRow:
    return SnapshotRow(
        snapshot=snapshot_id.hex(),
        time=format_time(snapshot.time_ns // 1_000_000),
        paths=[os.fsdecode(path) for path in snapshot.paths],
        files=snapshot.files,
        bytes=snapshot.bytes,
        peers=peers if is_whole else [],
        incomplete=not is_whole,
        host=snapshot.host,
        tags=list(snapshot.tags),
        set=snapshot.set,
        original=snapshot.ext.get(ORIGINAL, b"").hex(),
    )

"""One backup: hosts gathered, files archived, the head signed and left with every host (DESIGN 2, "Streets").

Knows: the order of these steps. Must not know: how hosts are reached, how packs are sealed or sent.
"""

import asyncio
import getpass
import os
import platform
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

import msgspec

from backuppeer import __version__
from backuppeer.agent.owner.fullness import advise_capped, advise_full
from backuppeer.agent.owner.gathering import Gathering
from backuppeer.agent.owner.leaving import choose_staying, describe_ended, describe_leaving
from backuppeer.agent.owner.salvage import resend_metadata
from backuppeer.agent.owner.selfset import NAME
from backuppeer.agent.owner.set_hosts import say_how
from backuppeer.agent.owner.unfinished import find_named
from backuppeer.agent.owner.upload import Upload
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.owner.waste import follow_waste
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Count, Reporter, counting
from backuppeer.backup.amending import check_tags
from backuppeer.backup.archiver import ArchiveOptions, Archiver, ArchiveResult
from backuppeer.backup.browse import list_snapshots
from backuppeer.backup.counting import count_paths
from backuppeer.backup.exclusion import Exclusions, make_rules
from backuppeer.backup.parents import Parents, merge_paths, plan_parents
from backuppeer.backup.piped import read_stream_name
from backuppeer.backup.priority import Priorities
from backuppeer.backup.streaming import Fill
from backuppeer.backup.trees import TreeReader
from backuppeer.backup.wholeness import find_incomplete
from backuppeer.control.saving import BackupRequest, BackupResult, LeftOut, SnapshotRequest
from backuppeer.errors import LocalError, NotFoundError, RefusedError, Unavailable
from backuppeer.files.dialect import store_path, this_platform
from backuppeer.giving_way import giving_way
from backuppeer.ids import LogicalId, SnapshotId, format_peer_id
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.repo.snapshot import Snapshot, decode_known
from backuppeer.trust.evidence import Kind

_PHASE: Final = "backing up"


class Subject(Protocol):
    """What a backup is of."""

    def begin(self, reporter: Reporter, snapshots: Sequence[tuple[SnapshotId, bytes]]) -> Count | None:
        """Say how much there is to do, by the snapshots there are (id, body); return who counts it, if need be."""
        ...

    def archive(self, archiver: Archiver) -> ArchiveResult:
        """Make the snapshot, in a thread."""
        ...

    def adapt(self, options: ArchiveOptions) -> ArchiveOptions:
        """Return the options with those added that only this sort of backup has."""
        ...


class Paths:
    """Files and folders, as a request names them."""

    def __init__(self, request: BackupRequest) -> None:
        """Take the request.

        Raises:
            UserError: a pattern is none.

        """
        self._request = request
        self._paths = [store_path(path, this_platform()) for path in request.paths]
        self._exclusions = Exclusions(**msgspec.structs.asdict(request.leave_out))
        self._rules = make_rules(self._exclusions)
        Priorities(request.priority)  # a pattern that is none is told before anybody is dialled
        self._parents = Parents()

    def begin(self, reporter: Reporter, snapshots: Sequence[tuple[SnapshotId, bytes]]) -> Count | None:
        """Take the numbers of the last snapshot of these paths; a total from others would be worse than none."""
        self._parents = plan_parents([snapshot for _, snapshot in decode_known(snapshots)], self._paths)
        base = self._parents.base
        if base is None or not is_of_paths(base, self._paths):
            reporter.begin(_PHASE)
            return partial(count_paths, self._paths, self._rules) if self._request.is_watched else None
        reporter.begin(_PHASE, files_total=base.files, bytes_total=base.bytes)
        return None

    def archive(self, archiver: Archiver) -> ArchiveResult:
        """Walk."""
        return archiver.run(self._paths, self._parents.base, self._parents.grafts)

    def adapt(self, options: ArchiveOptions) -> ArchiveOptions:
        """Add what is left out."""
        return replace(
            options,
            one_file_system=self._request.one_file_system,
            exclusions=self._exclusions,
            priorities=self._request.priority,
        )


class Stream:
    """Bytes that the command feeds, as a file called `name`."""

    def __init__(self, name: str, fill: Fill) -> None:
        """Take the stream.

        Raises:
            UserError: it is no name of a file.

        """
        self._path, self._fill = read_stream_name(name), fill

    def begin(self, reporter: Reporter, _: Sequence[tuple[SnapshotId, bytes]]) -> Count | None:
        """Begin; nobody knows how much comes."""
        reporter.begin(_PHASE)
        return None

    def archive(self, archiver: Archiver) -> ArchiveResult:
        """Take it in."""
        return archiver.run_stream(self._path, self._fill)

    def adapt(self, options: ArchiveOptions) -> ArchiveOptions:
        """Leave them as they are."""
        return options


class BackupJob:
    """One run of `backup`."""

    def __init__(
        self,
        vault: Vault,
        request: SnapshotRequest,
        reporter: Reporter,
        subject: Subject,
        *,
        gives_way: bool = False,
    ) -> None:
        """gives_way: nobody waits for it, so it comes after others at processor and disk."""
        self._vault, self._request, self._reporter = vault, request, reporter
        self._subject = subject
        self._hosts = Gathering(vault, reporter)
        self._has_dropped, self._gives_way = False, gives_way

    async def run(self) -> BackupResult:
        """Make the snapshot and bring it to the hosts; those that do not hold all of it come back in `left_out`.

        Raises:
            UserError: a tag can't be one.
            NotFoundError: no host is agreed, none of the paths exists, or nothing at them could be read.
            PeerUnreachable: no host can be reached.
            RefusedError: no host takes the packs.

        """
        check_tags(self._request.tags)
        wanted: Sequence[Partner] = ()
        partners: Sequence[Partner] = ()
        if not self._request.dry_run:
            self._vault.check_writable()
            wanted = choose_staying(self._vault.deeds, self._vault.partners(self._request.to))
            partners = await self._hosts.meet(wanted)
            self._tell_caps(partners)
        count = self._subject.begin(self._reporter, self._vault.repository.index.snapshots())
        upload = self._hosts.make_upload(partners)
        self._reporter.sent_bytes, self._reporter.by_peer = (lambda: upload.sent_bytes), upload.shares
        named = await asyncio.to_thread(find_named, self._vault, self._vault.source(wait_s=0))
        work = partial(self._archive, upload, named)
        # Until the head names them, a prune beside this backup must not take away the packs that it relies on.
        with self._vault.repository.index.turnover.relying():
            try:
                result = await self._hosts.in_thread(upload, work, counting(count, self._reporter))
                safe = [] if self._request.dry_run else await self._seal(result, partners, upload)
            except RefusedError as exc:
                raise await advise_full(self._vault, exc, partners) from exc
            if self._request.dry_run:
                await asyncio.to_thread(self._warn, result.new_bytes)
        report = self._report(result, upload, safe)
        for left in report.left_out:
            if left.capped:
                left.hint = await self._advise_capped(wanted, left)
        return report

    async def _advise_capped(self, partners: Sequence[Partner], left: LeftOut) -> str:
        """Return the hint with what a prune would free at a host at its cap: known when the head stands."""
        partner = next(partner for partner in partners if format_peer_id(partner.peer) == left.peer_id)
        return await asyncio.to_thread(advise_capped, self._vault, partner, left.hint)

    def _tell_caps(self, partners: Sequence[Partner]) -> None:
        """Tell before anything is sent how much strangers get that have nothing yet: the size is not known then."""
        for partner in partners:
            agreed_bytes = peek_statement(Agreement, self._vault.terms(partner)).size_bytes
            if said := self._vault.exposing.say_first(partner.peer, partner.name, agreed_bytes):
                self._reporter.note(said)

    def _warn(self, new_bytes: int) -> None:
        """Tell which strangers may not get all that is new: a dry run meets nobody."""
        try:
            partners = self._vault.partners(self._request.to)
        except NotFoundError:
            return
        for partner in partners:
            if said := self._vault.exposing.warn(partner.peer, partner.name, new_bytes):
                self._reporter.note(said)

    def _options(self, named: AbstractSet[LogicalId] | None) -> ArchiveOptions:
        options = ArchiveOptions(
            host=platform.node(),
            user=_user_name(),
            tags=tuple(self._request.tags),
            set_name=self._request.set,
            program=f"backup-peer {__version__}",
            level=self._request.level,
            dry_run=self._request.dry_run,
            ext={NAME: carried} if (carried := self._vault.self_set.collect(self._vault.clock.now_ms())) else {},
            cancel=self._hosts.stop,
            named=named,
            gives_way=self._gives_way,
        )
        return self._subject.adapt(options)

    def _archive(self, upload: Upload, named: AbstractSet[LogicalId] | None) -> ArchiveResult:
        repository = self._vault.repository
        if not self._request.dry_run:
            resend_metadata(repository, upload, level=self._request.level)
            self._drop_lost()
        archiver = Archiver(
            repository.keys,
            repository.index,
            cache=repository.cache,
            partial=repository.partial,
            sink=upload,
            progress=self._reporter,
            options=self._options(named),
        )
        with giving_way() if self._gives_way else nullcontext():
            return self._subject.archive(archiver)

    def _drop_lost(self) -> None:
        """Let the next head name no more what is at no host, once every host told all that it holds."""
        packs = self._vault.repository.index.counts().packs
        for snapshot in self._vault.drop_lost() if self._hosts.are_all_heard else ():
            self._reporter.note(f"snapshot {snapshot.hex()[:8]} can't be had any more: from now on it is left out")
        self._has_dropped = self._vault.repository.index.counts().packs < packs

    async def _seal(self, result: ArchiveResult, partners: Sequence[Partner], upload: Upload) -> list[Partner]:
        """Sign the head and leave it with the hosts: only then the snapshot stands."""
        if result.inventory is None or result.index is None:
            raise LocalError("a finished backup has no inventory")
        await self._hosts.complete(partners, result.inventory)
        index = self._vault.repository.index
        epoch, waste = index.turnover.epoch(), self._vault.owed.waste()
        self._vault.heads.extend(result.index, result.inventory)
        index.turnover.name(result.inventory.packs)
        if result.trust is not None:
            # Only now: what its looks stand for is durable, and in packs that a head names.
            index.end_walk(result.trust)
        self._hosts.named = set(result.inventory.packs)

        def on_told(partner: Partner) -> None:
            self._vault.saw(partner, Kind.STORED, size_bytes=upload.sent_to(partner))

        safe = await self._hosts.leave_head(partners, on_told)
        # Only now: had the snapshot come to nothing, the next run would have gone on from there.
        await asyncio.to_thread(self._vault.repository.partial.forget, merge_paths(result.snapshot.paths))
        vault, added = self._vault, (result.snapshot_id, result.snapshot)
        source = vault.source(wait_s=0)
        follow = partial(follow_waste, vault.repository, vault.owed, source, before=waste, epoch=epoch, added=added)
        await asyncio.to_thread(follow)
        await self._weigh_losses()
        return safe

    async def _weigh_losses(self) -> None:
        """Tell which other snapshots lack something now that what this machine still has was sent again."""
        before = self._vault.incomplete
        if not self._has_dropped and not before:
            return
        repository, source = self._vault.repository, self._vault.source(self._reporter, wait_s=0.0)
        trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=source)
        snapshots = list_snapshots(repository.index)
        try:
            found = await asyncio.to_thread(find_incomplete, trees, repository.index, snapshots)
        except Unavailable:
            return  # the snapshot of this run stands; what is noted is looked at again with the next
        self._vault.note_incomplete(found)
        for snapshot in sorted(found - before):
            self._reporter.note(f"snapshot {snapshot.hex()[:8]} is incomplete from now on: a part of it is at no host")

    def _report(self, result: ArchiveResult, upload: Upload, safe: list[Partner]) -> BackupResult:
        return BackupResult(
            snapshot="" if self._request.dry_run else result.snapshot_id.hex(),
            files=result.files,
            bytes=result.bytes,
            new_bytes=result.new_bytes,
            sent_bytes=upload.sent_bytes,
            seconds=self._reporter.seconds,
            errors=result.errors,
            set=self._request.set,
            copies=self._request.copies or 1,
            unchanged=result.unchanged,
            read_bytes=result.read_bytes,
            peers=[format_peer_id(p.peer) for p in safe],
            ending=describe_leaving(self._vault.deeds, safe),
            left_out=[
                *self._hosts.describe_left_out(hint="run the same backup again when it is back"),
                *self._describe_ended(),
            ],
            to=list(self._request.to),
        )

    def _describe_ended(self) -> list[LeftOut]:
        """Return those of the hosts asked for by name that got nothing, as our own person ended with them."""
        if self._request.dry_run or not self._request.to:
            return []
        name = self._request.set
        return describe_ended(self._vault.deeds, self._vault.partners(self._request.to), say_how(name) if name else "")


def is_of_paths(snapshot: Snapshot, paths: Sequence[bytes]) -> bool:
    """Whether a snapshot is of just these paths."""
    return sorted(snapshot.paths) == sorted({os.path.normpath(path) for path in paths})


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())

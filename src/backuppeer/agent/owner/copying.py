"""Packs that a host lacks, copied to it from another host: opened, and sealed anew (DESIGN 4, "seal per copy").

Knows: which packs are missing where, and whether they fit there. Must not know: files. A copy is never passed on as it
is: with the same salt one host could answer for the other.
"""

import asyncio
import shlex
import threading
from collections.abc import Sequence

from backuppeer.agent.owner.fetch import Fetch
from backuppeer.agent.owner.repository import Repository
from backuppeer.agent.owner.upload import Upload
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.peers.room import say_room
from backuppeer.agent.reporter import Reporter
from backuppeer.agent.repute.exposing import Exposing
from backuppeer.clock import Clock
from backuppeer.errors import IntegrityFault, NewerFormatError, RefusedError, Unavailable
from backuppeer.ids import LogicalId
from backuppeer.repo.pack import ClosedDraft, NeedTail, open_directory, reopen_pack
from backuppeer.sizes import format_size
from backuppeer.wire.messages import GetUsage, Usage


async def ask_usage(partner: Partner) -> Usage:
    """Return how full a host says that the agreement is.

    Raises:
        BackupPeerError: it can't be reached, or refuses.

    """
    session = await partner.session()
    async with session.request(GetUsage(agreement=partner.agreement)) as channel:
        return await channel.receive(Usage)


async def find_shortage(
    repository: Repository, partner: Partner, missing: Sequence[LogicalId], now_ms: int
) -> RefusedError | None:
    """Return why `partner` can't hold the packs that it lacks, or None if it can, or lacks nothing.

    Asked before the first of them is copied: a part of them would restore nothing and fill what was agreed.

    Raises:
        BackupPeerError: it does not say how much is free there.

    """
    needed = await asyncio.to_thread(repository.ledger.measure, missing)
    if not needed:
        return None
    usage = await ask_usage(partner)
    if needed <= usage.free_bytes:
        return None
    return RefusedError(
        f"too small for a copy of your backup: it lacks {format_size(needed)} of earlier ones and has "
        f"{say_room(usage, now_ms)}; nothing is copied to it until that fits",
        hint=f"ask for more: `backup-peer peers resize {shlex.quote(partner.name)} SIZE`; or `backup-peer forget` "
        "snapshots that need not be kept, then `backup-peer prune`; or find a larger host: `backup-peer browse`; "
        "--to names hosts to do without it",
    )


async def copy_missing(  # noqa: PLR0913 - what goes from where to whom
    repository: Repository,
    partner: Partner,
    missing: Sequence[LogicalId],
    source: Fetch,
    reporter: Reporter,
    *,
    clock: Clock,
    stop: threading.Event,
    exposing: Exposing,
    is_waited_for: bool = False,
    is_draft: bool = False,
) -> int:
    """Copy those packs that `partner` lacks and another host returns whole; return how many are left out.

    `is_draft`: no head names them yet. `is_waited_for`: other hosts wait meanwhile, so it must not be slow.

    Raises:
        BackupPeerError: `partner` does not take them.

    """
    if not missing:
        return 0
    needed = await asyncio.to_thread(repository.ledger.measure, missing)
    reporter.begin(f"copying to {partner.name}", unit="pack", files_total=len(missing), bytes_total=needed)
    upload = Upload(
        repository,
        [partner],
        on_copy=lambda _, copy: repository.ledger.register_copy(copy),  # the index knows the entries
        say=reporter.say_state,
        clock=clock,
        stop=stop,
        exposing=exposing,
        is_waited_for=is_waited_for,
    )
    upload.is_draft = is_draft
    left_out = done_bytes = 0
    async with upload:
        for done, logical in enumerate(missing, 1):
            size_bytes = await asyncio.to_thread(_copy, repository, source, upload, logical)
            left_out += not size_bytes
            done_bytes += size_bytes
            reporter.update(files=done, bytes=done_bytes)
        await asyncio.to_thread(upload.flush)
    if upload.sent_bytes:
        reporter.note(f"{partner.name} was brought up to date: {format_size(upload.sent_bytes)} sent to it")
    return left_out


def _copy(repository: Repository, source: Fetch, upload: Upload, logical: LogicalId) -> int:
    """Copy a pack and return its bytes; 0: nobody returns it whole."""
    try:
        draft = _reopen(repository, source, logical)
    except (IntegrityFault, NewerFormatError, Unavailable):
        return 0
    upload.store(draft)
    return repository.ledger.measure([logical])


def _reopen(repository: Repository, source: Fetch, logical: LogicalId) -> ClosedDraft:
    copies = repository.ledger.whole_copies_of(logical)
    if not copies:
        raise IntegrityFault(f"no host is known to hold pack {logical.hex()[:8]} whole")
    size = copies[0].size
    _, (data,) = source.fetch(logical, [(0, size)])
    directory = open_directory(repository.keys_for, data, size)
    if isinstance(directory, NeedTail):
        raise TypeError("a whole pack can't need a longer tail")
    return reopen_pack(directory, repository.keys, data)

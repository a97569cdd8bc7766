"""Whole copies read from the hosts that keep them, and every blob in them opened: the slow half of a check.

Knows: one copy and the host it lies with. Must not know: which copies are to be read, what a blob is for. A copy is
whole when its bytes are those of its stored id (Merkle), its directory and blobs open (AEAD), and every blob is what
its id names. Called from several threads; each holds one pack of at most 16 MiB.

What is no answer at all says nothing of a copy by itself: a fault of the moment looks the same. So this one is asked
for once more, alone; a host that answers nonsense again has not given it, and it counts as spoiled. Each such answer
may cost a session, so a host that gives nothing else is left out after NONSENSE_PACKS.
"""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from backuppeer.agent.owner.failures import NonsenseError
from backuppeer.agent.owner.fetch import Fetch
from backuppeer.agent.owner.repository import Repository
from backuppeer.backup.fetching import read_pack
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError, IntegrityFault, PeerFault, PeerUnreachable, Unavailable
from backuppeer.ids import AgreementId, BlobId
from backuppeer.limits import NONSENSE_PACKS, TAIL_READ_BYTES
from backuppeer.repo.index import Location
from backuppeer.repo.pack import Directory, NeedTail, PackOpener, open_directory
from backuppeer.shares.ledger import Copy


class State(Enum):
    """What became of reading a copy."""

    WHOLE = "whole"
    SPOILED = "spoiled"
    UNREAD = "unread"
    """Its host can't be reached or understood, or this program is too old for it: nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A copy and what became of it. `bad`: the blobs that could not be had from it. `error`: why, if not whole.

    `is_given`: its host gave the bytes that were stored; what is wrong with these is none of its doing.
    """

    copy: Copy
    state: State
    error: BackupPeerError | None = None
    bad: Sequence[BlobId] = ()
    is_given: bool = False


class Proofreader:
    """Reads copies through `sources`, one for each agreement, each of which knows that one host only."""

    def __init__(self, repository: Repository, sources: Mapping[AgreementId, Fetch], clock: Clock) -> None:
        self._repository, self._sources, self._clock = repository, sources, clock
        self._alone, self._nonsense = threading.Lock(), Counter[AgreementId]()

    def read(self, copy: Copy) -> Verdict:
        """Read a copy to its end, and note what came of it in the ledger.

        Raises:
            LocalError: the ledger can't be written.

        """
        source, is_given = self._sources[copy.agreement], False
        try:
            data = self._fetch_whole(copy, source)
            is_given = True
            bad = self._open_all(copy, data)
            error: BackupPeerError | None = IntegrityFault("blobs in it do not open") if bad else None
        except NonsenseError as exc:
            bad, error = [place.blob for place in self._repository.index.locations_in(copy.logical)], exc
        except PeerFault as exc:
            bad, error = self._find_bad(copy, source), exc
        except BackupPeerError as exc:  # weather, or of a newer format: it may well be whole
            return Verdict(copy, State.UNREAD, exc)
        if error is None:
            self._repository.ledger.note_verified(copy, self._clock.now_ms())
            return Verdict(copy, State.WHOLE)
        self._repository.ledger.note_spoiled(copy, self._clock.now_ms())
        return Verdict(copy, State.SPOILED, error, bad, is_given)

    def _fetch_whole(self, copy: Copy, source: Fetch) -> memoryview:
        """Return the bytes of a copy, asked for once more if the first answer was none.

        Raises:
            NonsenseError: nor was the second one.
            PeerUnreachable: its host gave too much of that to be asked any more.

        """
        wanted = [(0, copy.size)]
        try:
            _, (data,) = source.fetch(copy.logical, wanted)
        except NonsenseError as exc:
            with self._alone:
                if self._nonsense[copy.agreement] >= NONSENSE_PACKS:
                    raise PeerUnreachable(exc.message, hint=exc.hint) from exc
                self._nonsense[copy.agreement] += 1
                _, (data,) = source.fetch(copy.logical, wanted)
        return memoryview(data)

    def _open_all(self, copy: Copy, data: memoryview) -> list[BlobId]:
        """Open every blob of a whole copy; return those that don't."""
        directory = open_directory(self._repository.keys_for, data, copy.size)
        if isinstance(directory, NeedTail):
            raise TypeError("a whole pack can't need a longer tail")
        if directory.logical != copy.logical:
            raise IntegrityFault("it is another pack than is known here")
        opener = PackOpener(self._repository.keys, directory.header)
        bad: list[BlobId] = []
        for entry in directory.entries:
            try:
                opener.open_entry(entry, data[entry.offset : entry.offset + entry.sealed_bytes])
            except IntegrityFault:
                bad.append(entry.blob)
        return bad

    def _find_bad(self, copy: Copy, source: Fetch) -> list[BlobId]:
        """Return the blobs that can't be had from a copy that is not whole, by reading around its damage."""
        places = self._places(copy, source)
        if not places:
            return []
        outcomes = read_pack(self._repository.keys, source, pack=copy.logical, places=places)
        return [
            place.blob
            for place, outcome in outcomes
            if not isinstance(outcome, bytes) and not isinstance(outcome, Unavailable)
        ]

    def _places(self, copy: Copy, source: Fetch) -> list[Location]:
        try:
            directory = read_directory(self._repository, source, copy)
        except BackupPeerError:
            return self._repository.index.locations_in(copy.logical)
        return [Location(copy.logical, entry) for entry in directory.entries]


def read_directory(repository: Repository, source: Fetch, copy: Copy) -> Directory:
    """Return the directory of a pack, from the tail of a copy.

    Raises:
        IntegrityFault: it does not open, or is of another pack.
        Unavailable: nobody who has it can be reached.

    """
    tail_bytes = min(copy.size, TAIL_READ_BYTES)
    for _ in range(2):
        _, (tail,) = source.fetch(copy.logical, [(copy.size - tail_bytes, tail_bytes)])
        found = open_directory(repository.keys_for, tail, copy.size)
        if isinstance(found, Directory):
            if found.logical != copy.logical:
                raise IntegrityFault("it is another pack than is known here")
            return found
        tail_bytes = copy.size - found.offset
    raise IntegrityFault(f"pack {copy.logical.hex()[:8]} has no directory where its footer says")

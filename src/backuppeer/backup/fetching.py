"""Blobs out of one pack: which ranges to ask for, and what to do when some of them don't verify.

Knows: offsets in packs, the source. Must not know: files, trees.

Ranges that touch are one range, and when most of a stretch is wanted it is read in one piece: a request costs a
round trip and whole blocks travel anyway. When a pack doesn't verify, the wanted blobs are halved until the bad ones
stand alone: one rotten leaf must not take the other thousand files of its pack with it. What can't be had from the pack
where it is found may lie in a second one, its spare place: only when that fails, too, it is given up.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from backuppeer.backup.streams import PackSource
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import BackupPeerError, IntegrityFault, Unavailable
from backuppeer.ids import BlobId, LogicalId
from backuppeer.limits import RESTORE_FRUITLESS_READS, RESTORE_WHOLE_PACK_PERMILLE
from backuppeer.repo.index import Location
from backuppeer.repo.pack import PackOpener

Outcome = bytes | BackupPeerError
"""Checked plaintext, or why there is none."""
FindSpares = Callable[[Iterable[BlobId]], Mapping[BlobId, Sequence[Location]]]
"""Says where else blobs lie, the likeliest place first."""
Part = tuple[Sequence[Location], "Fetched | BackupPeerError"]
Range = tuple[int, int, list[Location]]
"""Offset and length in the pack, and the places inside."""


def group_by_pack(places: Iterable[Location]) -> list[tuple[LogicalId, list[Location]]]:
    """Return the places per pack, both in order of first mention: the walk's, so that neighbours stay together."""
    packs: dict[LogicalId, list[Location]] = {}
    for place in places:
        packs.setdefault(place.pack, []).append(place)
    return list(packs.items())


def plan_ranges(places: Sequence[Location]) -> list[Range]:
    """Return (offset, length, places inside) of the ranges to read; `places` of one pack, in any order."""
    places = sorted(places, key=attrgetter("entry.offset"))
    first, last = places[0].entry, places[-1].entry
    span = last.offset + last.sealed_bytes - first.offset
    wanted = sum(place.entry.sealed_bytes for place in places)
    if wanted * 1000 >= span * RESTORE_WHOLE_PACK_PERMILLE:
        return [(first.offset, span, list(places))]
    ranges: list[Range] = []
    for place in places:
        offset, size = place.entry.offset, place.entry.sealed_bytes
        if ranges and ranges[-1][0] + ranges[-1][1] == offset:
            start, length, inside = ranges[-1]
            inside.append(place)
            ranges[-1] = (start, length + size, inside)
        else:
            ranges.append((offset, size, [place]))
    return ranges


@dataclass(frozen=True, slots=True)
class Fetched:
    """Verified bytes of one copy of a pack: its clear header, and what was asked for, range by range."""

    header: bytes
    ranges: Sequence[Range]
    pieces: Sequence[bytes | memoryview]


def fetch_parts(
    source: PackSource, *, pack: LogicalId, places: Sequence[Location], find_spares: FindSpares | None = None
) -> Iterator[Part]:
    """Yield the wanted places of a pack (not empty), in their order, in as few parts as its damage allows.

    With `find_spares`, blobs that can't be had there follow at last, from their spare places where these can be had.
    """
    failed: list[tuple[Location, BackupPeerError]] = []
    for part, fetched in _fetch_here(source, pack=pack, places=places):
        if find_spares is not None and isinstance(fetched, BackupPeerError):
            failed += [(place, fetched) for place in part]
        else:
            yield part, fetched
    if find_spares is not None and failed:
        yield from _fetch_elsewhere(source, failed, find_spares)


def _fetch_elsewhere(
    source: PackSource, failed: Sequence[tuple[Location, BackupPeerError]], find_spares: FindSpares
) -> Iterator[Part]:
    missing = {place.blob: (place, error) for place, error in failed}
    spares = {blob: list(places) for blob, places in find_spares(missing).items()}
    while tried := [spares[blob].pop(0) for blob in missing if spares.get(blob)]:
        for pack, places in group_by_pack(tried):
            for part, fetched in _fetch_here(source, pack=pack, places=places):
                if not isinstance(fetched, BackupPeerError):
                    for place in part:
                        del missing[place.blob]
                    yield part, fetched
                elif isinstance(fetched, Unavailable):  # as long as somebody who has it is away it is not lost
                    missing |= {place.blob: (missing[place.blob][0], fetched) for place in part}
    yield from (([place], error) for place, error in missing.values())


def _fetch_here(source: PackSource, *, pack: LogicalId, places: Sequence[Location]) -> Iterator[Part]:
    pending = [list(places)]
    fruitless: int | None = 0  # reads that failed before any succeeded; None once one did
    while pending:
        part = pending.pop()
        try:
            fetched = _fetch(source, pack=pack, places=part)
        except Unavailable as exc:
            yield from ((rest, exc) for rest in (part, *pending))
            return
        except IntegrityFault as exc:
            fruitless = None if fruitless is None else fruitless + 1
            if len(part) == 1 or (fruitless or 0) > RESTORE_FRUITLESS_READS:
                yield part, exc
            else:
                pending += [part[len(part) // 2 :], part[: len(part) // 2]]
            continue
        fruitless = None
        yield part, fetched


def read_pack(
    keys: RepositoryKeys,
    source: PackSource,
    *,
    pack: LogicalId,
    places: Sequence[Location],
    find_spares: FindSpares | None = None,
) -> Iterator[tuple[Location, Outcome]]:
    """Yield each wanted blob of a pack with its plaintext or its error, as `fetch_parts` brings them."""
    for part, fetched in fetch_parts(source, pack=pack, places=places, find_spares=find_spares):
        try:
            if isinstance(fetched, BackupPeerError):
                raise fetched
            opener = PackOpener(keys, fetched.header)
        except BackupPeerError as exc:
            yield from ((place, exc) for place in part)
        else:
            yield from _open_blobs(opener, _cut(fetched.ranges, fetched.pieces), part)


def _cut(ranges: Sequence[Range], pieces: Sequence[bytes | memoryview]) -> dict[BlobId, memoryview]:
    sealed: dict[BlobId, memoryview] = {}
    for (start, _, inside), piece in zip(ranges, pieces, strict=True):
        view = memoryview(piece)
        for place in inside:
            entry = place.entry
            at = entry.offset - start
            sealed[entry.blob] = view[at : at + entry.sealed_bytes]
    return sealed


def _fetch(source: PackSource, *, pack: LogicalId, places: Sequence[Location]) -> Fetched:
    ranges = plan_ranges(places)
    header, pieces = source.fetch(pack, [(offset, length) for offset, length, _ in ranges])
    if [len(piece) for piece in pieces] != [length for _, length, _ in ranges]:
        raise IntegrityFault("a pack was answered with other ranges than were asked for")
    return Fetched(header, ranges, pieces)


def _open_blobs(
    opener: PackOpener, sealed: Mapping[BlobId, memoryview], places: Iterable[Location]
) -> Iterator[tuple[Location, Outcome]]:
    for place in places:
        entry = place.entry
        try:
            outcome: Outcome = opener.open_entry(entry, sealed[entry.blob])
        except IntegrityFault as exc:
            outcome = exc
        yield place, outcome

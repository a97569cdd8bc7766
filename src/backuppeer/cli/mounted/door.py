"""What a mount asks of the agent: the list of snapshots, folders, pieces of files; and what of it is kept here.

Knows: the control API, what to keep in memory, what to ask ahead. Must not know: kernels, what paths above snapshots
mean. Called from many threads.
"""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

from backuppeer.backup.recent import Recent
from backuppeer.cli.mounted.metadata import is_shown
from backuppeer.cli.work import read_event, read_rows
from backuppeer.control.api import Request
from backuppeer.control.client import Client
from backuppeer.control.events import EventName
from backuppeer.control.mounting import (
    MountEntry,
    MountFilesRequest,
    MountFolderRequest,
    MountFolderResult,
    MountReadRequest,
)
from backuppeer.errors import BackupPeerError, LocalError, Unavailable
from backuppeer.limits import (
    CONTROL_PIECE_BYTES,
    MOUNT_AHEAD,
    MOUNT_ANSWER_S,
    MOUNT_ENTRY_BYTES,
    MOUNT_FETCHES,
    MOUNT_FOLDERS,
    MOUNT_LISTED_BYTES,
    MOUNT_NAME_BYTES,
    MOUNT_SMALL_BYTES,
    MOUNT_SMALL_FILES,
    MOUNT_WINDOWS_BYTES,
)

Place = tuple[str, str]
"""A snapshot's full id, and an absolute path in it."""
Piece = Future[bytes]


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder holds: entries by name, and the names in the order of their bytes."""

    entries: dict[str, MountEntry]
    names: list[str]

    def small_from(self, name: str) -> list[MountEntry]:
        """Return the small files from `name` on, which is one, as many as may be asked for at once."""
        found: list[MountEntry] = []
        size = 0
        start = bisect_left(self.names, os.fsencode(name), key=os.fsencode)
        for other in islice(self.names, start, start + MOUNT_SMALL_FILES):
            entry = self.entries[other]
            if entry.kind != "file" or entry.size > MOUNT_SMALL_BYTES:
                continue
            size += entry.size
            if size > CONTROL_PIECE_BYTES:
                break
            found.append(entry)
        return found

    def folders_behind(self, name: str) -> list[str]:
        """Return the folders among the next entries, as many as may be asked for at once beside `name`."""
        start = bisect_right(self.names, os.fsencode(name), key=os.fsencode)
        behind = islice(self.names, start, start + MOUNT_FOLDERS - 1)
        return [other for other in behind if self.entries[other].kind == "dir"]


_FOLDERS: Final = 256
"""Folders of which it is remembered that a small file was read."""


class Door:
    """The agent, for one mount."""

    def __init__(self, client: Client, mount: str) -> None:
        self._client, self._mount = client, mount
        self._folders: Recent[Place, Folder] = Recent(MOUNT_LISTED_BYTES)
        self._pieces: Recent[tuple[Place, int], Piece] = Recent(MOUNT_WINDOWS_BYTES)
        self._entered: Recent[Place, bool] = Recent(_FOLDERS)
        self._pool = ThreadPoolExecutor(MOUNT_FETCHES, thread_name_prefix="read")

    def close(self) -> None:
        """Ask for nothing more; what is under way is left to end by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def list_folder(self, snapshot: str, parts: Sequence[str]) -> Folder:
        """Return the entries of a folder of a snapshot, by name, in order.

        Raises:
            BackupPeerError: it can't be had.

        """
        place = _place(snapshot, parts)
        return self._folders.get(place) or self._ask_folders([place, *self._folders_behind(snapshot, parts)])

    def find_entry(self, snapshot: str, parts: Sequence[str]) -> MountEntry | None:
        """Return the entry at a path of at least one part; None when there is none.

        Raises:
            BackupPeerError: the folder can't be had.

        """
        return self.list_folder(snapshot, parts[:-1]).entries.get(parts[-1])

    def read(self, snapshot: str, parts: Sequence[str], entry: MountEntry, *, offset: int, length: int) -> bytes:
        """Return bytes of a file from `offset` on, fewer at its end; what comes next is asked for ahead.

        Raises:
            BackupPeerError: they can't be had.

        """
        end = min(offset + length, entry.size)
        if end <= offset:
            return b""
        if entry.size <= MOUNT_SMALL_BYTES:
            return self._want_small(snapshot, parts).result()[offset:end]
        place = _place(snapshot, parts)
        first, last = offset // CONTROL_PIECE_BYTES, (end - 1) // CONTROL_PIECE_BYTES
        coming = [self._want(place, number, entry.size) for number in range(first, last + 1)]
        if first and (place, first - 1) in self._pieces:
            for number in range(last + 1, last + 1 + MOUNT_AHEAD):
                if number * CONTROL_PIECE_BYTES < entry.size:
                    self._want(place, number, entry.size)
        start = offset - first * CONTROL_PIECE_BYTES
        if first == last:
            return coming[0].result()[start : start + end - offset]
        return b"".join(piece.result() for piece in coming)[start : start + end - offset]

    def _want(self, place: Place, number: int, size: int) -> Piece:
        begin = partial(self._pool.submit, self._ask_piece, place, number, size)
        piece, is_new = self._pieces.make((place, number), begin, CONTROL_PIECE_BYTES)
        if is_new:
            self._watch(place, number, piece)
        return piece

    def _want_small(self, snapshot: str, parts: Sequence[str]) -> Piece:
        """Return a small file's bytes to come; the second one of a folder brings those that lie behind it along."""
        kept = self._pieces.get((_place(snapshot, parts), 0))
        if kept is not None:
            return kept
        wanted = self.list_folder(snapshot, parts[:-1]).small_from(parts[-1])
        is_first = self._enters(_place(snapshot, parts[:-1])) and self._enters(_place(snapshot, parts[:-2], "files"))
        mine: Piece = Future()
        batch: list[tuple[Place, MountEntry, Piece]] = []
        for entry in wanted[: 1 if is_first else None]:
            place = _place(snapshot, [*parts[:-1], entry.name])
            piece, is_new = self._pieces.make((place, 0), Future, entry.size + MOUNT_ENTRY_BYTES)
            if entry.name == parts[-1]:
                mine = piece
            if is_new:
                self._watch(place, 0, piece)
                batch.append((place, entry, piece))
        if batch:
            self._pool.submit(self._bring, batch)
        return mine

    def _watch(self, place: Place, number: int, piece: Piece) -> None:
        """Forget a piece that fails: the next who wants it asks for it again."""

        def look(done: Piece) -> None:
            if done.cancelled() or done.exception() is not None:
                self._pieces.drop((place, number))

        piece.add_done_callback(look)

    def _bring(self, batch: Sequence[tuple[Place, MountEntry, Piece]]) -> None:
        """Ask for small files at once; where that fails, for each of them, so that it is told which one is at fault."""
        try:
            data = memoryview(self._ask_files([place for place, _, _ in batch], sum(e.size for _, e, _ in batch)))
        except BackupPeerError as exc:
            for place, entry, piece in batch:
                if len(batch) == 1 or isinstance(exc, Unavailable):
                    piece.set_exception(exc)
                else:
                    _settle(piece, partial(self._ask_files, [place], entry.size))
            return
        start = 0
        for _, entry, piece in batch:
            piece.set_result(bytes(data[start : start + entry.size]))
            start += entry.size

    def _enters(self, place: Place) -> bool:
        """Say whether this is the first time lately that something in a place is wanted: what comes next is not yet."""
        return self._entered.make(place, lambda: True, 1)[1]

    def _folders_behind(self, snapshot: str, parts: Sequence[str]) -> list[Place]:
        """Return the folders that come next beside one that is wanted, if it is not the first of them."""
        beside = self._folders.get(_place(snapshot, parts[:-1])) if parts else None
        if beside is None or self._enters(_place(snapshot, parts[:-1], "folders")):
            return []
        behind = (_place(snapshot, [*parts[:-1], name]) for name in beside.folders_behind(parts[-1]))
        return [place for place in behind if place not in self._folders]

    def _ask_folders(self, places: Sequence[Place]) -> Folder:
        """Ask for some folders, keep those that come, and return the first."""
        paths = [path for _, path in places]
        request = MountFolderRequest(mount=self._mount, snapshot=places[0][0], paths=paths)
        found: list[dict[str, MountEntry]] = [{} for _ in places]
        told = 0
        with closing(self._client.work("mount/folder", request, timeout_s=MOUNT_ANSWER_S)) as events:
            for event in events:
                if event.event == EventName.ROWS:
                    for row in read_rows(event, MountEntry):
                        if is_shown(row, MOUNT_NAME_BYTES):
                            found[row.folder][row.name] = row
                elif event.event == EventName.DONE:
                    told = read_event(event, MountFolderResult).folders
        folders = [Folder(entries, list(entries)) for entries in found[:told]]
        for place, folder in reversed(list(zip(places, folders, strict=False))):
            self._folders.put(place, folder, sum(map(_weigh, folder.entries.values())) + MOUNT_ENTRY_BYTES)
        return folders[0]

    def _ask_piece(self, place: Place, number: int, size: int) -> bytes:
        offset = number * CONTROL_PIECE_BYTES
        length = min(CONTROL_PIECE_BYTES, size - offset)
        request = MountReadRequest(mount=self._mount, snapshot=place[0], path=place[1], offset=offset, length=length)
        return self._take("mount/read", request, length)

    def _ask_files(self, places: Sequence[Place], size: int) -> bytes:
        paths = [path for _, path in places]
        return self._take("mount/files", MountFilesRequest(mount=self._mount, snapshot=places[0][0], paths=paths), size)

    def _take(self, route: str, request: Request, length: int) -> bytes:
        with closing(self._client.bulk(route, request, timeout_s=MOUNT_ANSWER_S)) as told:
            data = b"".join(bytes(part) for part in told if isinstance(part, memoryview))
        if len(data) != length:
            raise LocalError(f"the agent gave {len(data)} bytes of {length}")
        return data


def _place(snapshot: str, parts: Sequence[str], *sort: str) -> Place:
    """Return the place of a path; `sort` makes another one of it, for what is remembered beside."""
    return ("/".join((snapshot, *sort)), "/" + "/".join(parts))


def _settle(piece: Piece, ask: Callable[[], bytes]) -> None:
    try:
        piece.set_result(ask())
    except BackupPeerError as exc:
        piece.set_exception(exc)


def _weigh(entry: MountEntry) -> int:
    attributes = sum(len(name) + len(value) for name, value in entry.attributes.items())
    return MOUNT_ENTRY_BYTES + len(entry.name) + len(entry.target) + attributes

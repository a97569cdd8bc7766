"""A mount of a home with a host: folders and bytes as they were saved, for as long as it lasts and no longer."""

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

import pytest

from agent.estates import estate_of
from backuppeer.agent.commands.mount import MountCommands
from backuppeer.backup.kinds import KIND_NAMES
from backuppeer.control.codec import convert_json
from backuppeer.control.mounting import (
    MountEndRequest,
    MountEntry,
    MountFilesRequest,
    MountFolderRequest,
    MountOpened,
    MountReadRequest,
    MountRequest,
)
from backuppeer.errors import (
    IntegrityFault,
    InterruptedByUserError,
    NotFoundError,
    PeerUnreachable,
    RefusedError,
    UserError,
)
from backuppeer.limits import CONTROL_PIECE_BYTES, MOUNT_FOLDERS, MOUNT_SMALL_FILES, MOUNTS


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr("backuppeer.agent.jobs.patience.MOUNT_PATIENCE_S", 0.0)


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_bytes(os.urandom(1000))
    (folder / "b.txt").hardlink_to(folder / "a.txt")
    (folder / "large").write_bytes(os.urandom(1_400_000))
    (folder / "sub" / os.fsdecode(b"\xff")).write_text("x")
    (folder / "link").symlink_to("a.txt")
    os.mkfifo(folder / "pipe")
    os.setxattr(folder / "large", "user.x", b"\0\xff")
    return folder


class Mount:
    """A mount that is open."""

    def __init__(self, commands, name, chosen):
        self.commands, self.name, self.chosen = commands, name, chosen

    async def folder(self, *paths, snapshot=None):
        rows = []

        async def emit(event):
            rows.extend(convert_json(event.data["rows"], list[MountEntry]))

        request = MountFolderRequest(
            mount=self.name, snapshot=snapshot or self.chosen[0], paths=[str(path) for path in paths]
        )
        return (await self.commands.folder(request, emit)).folders, rows

    async def read(self, path, offset, length):
        return await self._bytes(
            self.commands.read,
            MountReadRequest(mount=self.name, snapshot=self.chosen[0], path=str(path), offset=offset, length=length),
        )

    async def files(self, *paths):
        request = MountFilesRequest(mount=self.name, snapshot=self.chosen[0], paths=[str(path) for path in paths])
        return await self._bytes(self.commands.files, request)

    async def _bytes(self, ask, request):
        told = bytearray()

        async def emit(data):
            assert isinstance(data, bytes)
            assert len(data) <= CONTROL_PIECE_BYTES
            told.extend(data)

        result = await ask(request, emit)
        assert result.bytes == len(told)
        return bytes(told)


@asynccontextmanager
async def mounted(estate, commands=None, **wanted):
    commands = commands or MountCommands(SimpleNamespace(owner=estate))
    opened = asyncio.get_running_loop().create_future()

    async def emit(event):
        if event.event == "opened":
            opened.set_result(convert_json(event.data, MountOpened))

    running = asyncio.create_task(commands.mount(MountRequest(**wanted), emit))
    await asyncio.wait([running, opened], return_when=asyncio.FIRST_COMPLETED)
    if not opened.done():
        opened.cancel()
        await running
    name, chosen = opened.result().mount, opened.result().snapshots
    try:
        yield Mount(commands, name, chosen)
    finally:
        with suppress(NotFoundError):  # ended already
            await commands.end(MountEndRequest(mount=name), None)
        await running


@pytest.fixture
def play(owner, tmp_path):
    def run(scenario, *houses):
        async def whole():
            async with estate_of(owner, tmp_path / "estate", *houses) as estate:
                await scenario(estate)

        asyncio.run(whole())

    return run


def test_folders_tell_all_that_is_known_of_their_entries(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        async with mounted(estate) as mount:
            told, rows = await mount.folder(tree)
            by_name = {row.name: row for row in rows}
            assert (told, list(by_name)) == (1, ["a.txt", "b.txt", "large", "link", "pipe", "sub"])
            for name, row in by_name.items():
                seen = (tree / name).lstat()
                assert (row.mode, row.uid, row.gid) == (seen.st_mode & 0o7777, seen.st_uid, seen.st_gid)
                assert (row.mtime_ns, row.ctime_ns) == (seen.st_mtime_ns, seen.st_ctime_ns)
                assert row.kind in KIND_NAMES.values()
            assert by_name["large"].attributes == {"user.x": b"\0\xff"}
            assert (by_name["link"].target, by_name["large"].size) == ("a.txt", 1_400_000)
            assert (by_name["a.txt"].names, by_name["large"].names) == (2, 1)
            assert by_name["a.txt"].inode == by_name["b.txt"].inode == (tree / "a.txt").stat().st_ino

    play(scenario, house)


def test_further_folders_are_told_as_far_as_they_are_at_hand(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        async with mounted(estate) as mount:
            await mount.folder(tree)
            told, rows = await mount.folder(tree, tree / "sub", tree / "no", tree / "sub")
            assert told == 2
            assert [os.fsencode(row.name) for row in rows if row.folder == 1] == [b"\xff"]
        estate.lose_repository("trees")
        async with mounted(estate) as mount:
            assert (await mount.folder("/", tree / "sub"))[0] == 1
            await mount.folder(tree / "sub")
            assert (await mount.folder("/", tree / "sub"))[0] == 2

    play(scenario, house)


def test_bytes_come_from_any_place_and_files_whole(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        large = (tree / "large").read_bytes()
        async with mounted(estate) as mount:
            for offset, length in ((0, 10), (300_000, CONTROL_PIECE_BYTES), (1_399_990, 100), (1_400_000, 1)):
                assert await mount.read(tree / "large", offset, length) == large[offset : offset + length]
            small = (tree / "a.txt").read_bytes()
            assert await mount.files(tree / "a.txt", tree / "sub" / os.fsdecode(b"\xff"), tree / "b.txt") == (
                small + b"x" + small
            )
            assert (await mount.commands.end(MountEndRequest(mount=mount.name), None)).read_bytes > 2000

    play(scenario, house)


def test_what_can_not_be_is_refused(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        async with mounted(estate) as mount:
            for work, error in (
                (mount.read(tree / "no", 0, 1), NotFoundError),
                (mount.read(tree, 0, 1), NotFoundError),
                (mount.read(tree / "large", 0, CONTROL_PIECE_BYTES + 1), UserError),
                (mount.read(tree / "large", -1, 1), UserError),
                (mount.read(tree / "large", 0, 0), UserError),
                (mount.files(*[tree / "a.txt"] * (MOUNT_SMALL_FILES + 1)), UserError),
                (mount.files(tree / "large"), UserError),
                (mount.folder(tree / "a.txt"), NotFoundError),
                (mount.folder(), UserError),
                (mount.folder(*[tree] * (MOUNT_FOLDERS + 1)), UserError),
                (mount.folder("/", snapshot="ff" * 32), NotFoundError),
                (Mount(mount.commands, "other", mount.chosen).folder("/"), NotFoundError),
            ):
                with pytest.raises(error) as caught:
                    await work
                assert type(caught.value) is error

    play(scenario, house)


def test_a_mount_is_of_the_snapshots_named_or_of_those_that_fit(house, tree, play):
    async def scenario(estate):
        first = (await estate.back_up(tree)).snapshot
        (tree / "new").touch()
        second = (await estate.back_up(tree)).snapshot
        async with mounted(estate) as mount:
            assert mount.chosen == [second, first]
        async with mounted(estate, snapshots=["latest", first[:6]]) as mount:
            assert mount.chosen == [second, first]
        async with mounted(estate, path=str(tree)) as mount:
            assert len(mount.chosen) == 2
        for wanted, error in (
            ({"snapshots": ["0000"]}, NotFoundError),
            ({"tags": ["none"]}, NotFoundError),
            ({"hosts": ["elsewhere"]}, NotFoundError),
            ({"snapshots": [first], "set": "x"}, UserError),
        ):
            with pytest.raises(error) as caught:
                async with mounted(estate, **wanted):
                    pass
            assert type(caught.value) is error

    play(scenario, house)


def test_a_snapshot_made_while_it_is_mounted_can_be_looked_into(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        async with mounted(estate) as mount:
            (tree / "new").touch()
            made = (await estate.back_up(tree)).snapshot
            assert "new" in [row.name for row in (await mount.folder(tree, snapshot=made))[1]]

    play(scenario, house)


def test_a_host_that_is_away_or_lies_is_an_error_of_the_read_and_not_of_the_mount(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        async with mounted(estate) as mount:
            estate.sight.away = {house.peer}
            with pytest.raises(PeerUnreachable):
                await mount.read(tree / "large", 0, 10)
            assert (await mount.folder(tree))[0] == 1
        estate.sight.away = set()
        packs = [path for path in house.premises.directory.rglob("packs/*/*") if path.suffix != ".leaves"]
        for path in packs:
            data = bytearray(path.read_bytes())
            for at in range(64, len(data), 1024):
                data[at] ^= 1
            path.write_bytes(data)
        async with mounted(estate) as mount:
            with pytest.raises(IntegrityFault):
                await mount.read(tree / "large", 0, 10)

    play(scenario, house)


def test_reads_that_wait_end_with_the_mount_and_their_host_is_dialled_no_more(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        asked, let_go = asyncio.Event(), asyncio.Event()

        async def hang(peer):
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                let_go.set()

        async with mounted(estate) as mount:
            sessions, estate.sight.session = estate.sight.session, hang
            reading = asyncio.create_task(mount.read(tree / "large", 0, 10))
            await asked.wait()
            await mount.commands.end(MountEndRequest(mount=mount.name), None)
            with pytest.raises(InterruptedByUserError):
                await reading
            await let_go.wait()
            with pytest.raises(NotFoundError):
                await mount.read(tree / "large", 0, 10)
        estate.sight.session = sessions

    play(scenario, house)


def test_there_are_only_so_many_mounts_at_once(house, tree, play, monkeypatch):
    monkeypatch.setattr("backuppeer.agent.jobs.mount.MOUNTS", 1)
    assert MOUNTS > 1

    async def scenario(estate):
        await estate.back_up(tree)
        async with mounted(estate) as mount:
            with pytest.raises(RefusedError, match="open already"):
                async with mounted(estate, mount.commands):
                    pass
        async with mounted(estate, mount.commands):
            pass

    play(scenario, house)

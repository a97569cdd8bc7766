"""find, diff, stats and dump of a home with a host: what they tell, and what they do when something is missing."""

import asyncio
import io
import os
import tarfile
from types import SimpleNamespace

import pytest

from agent.estates import estate_of
from backuppeer.agent.commands.inspect import InspectCommands
from backuppeer.agent.jobs.backup import BackupJob, Paths
from backuppeer.agent.jobs.pulling import BATCH_ROWS
from backuppeer.agent.jobs.restore import RestoreJob
from backuppeer.agent.reporter import Reporter
from backuppeer.backup.browse import list_snapshots
from backuppeer.control.inspection import DiffRequest, DumpRequest, FindRequest, StatsRequest
from backuppeer.control.restoring import RestoreRequest
from backuppeer.control.saving import BackupRequest
from backuppeer.errors import IntegrityFault, NoSignaling, NotFoundError, PeerUnreachable, UserError
from backuppeer.ids import format_peer_id

VERBS = {FindRequest: "find", DiffRequest: "diff", StatsRequest: "stats", DumpRequest: "dump"}


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a" * 1000)
    (folder / "sub" / "b.txt").write_text("b" * 2000)
    (folder / "link").symlink_to("a.txt")
    return folder


def below(row, tree):
    return row["path"].removeprefix(f"{tree}/")


class Told:
    """What a job said on its way."""

    def __init__(self):
        self.rows, self.data, self.events = [], b"", []

    async def emit(self, told):
        if isinstance(told, bytes):
            self.data += told
            return
        self.events.append(told.event)
        if told.event == "rows":
            self.rows += told.data["rows"]

    async def run(self, estate, request):
        commands = InspectCommands(SimpleNamespace(owner=estate))
        return await getattr(commands, VERBS[type(request)])(request, self.emit)


async def ask(estate, request):
    told = Told()
    return await told.run(estate, request), told


@pytest.fixture
def play(owner, tmp_path):
    def run(scenario, *houses):
        async def whole():
            async with estate_of(owner, tmp_path / "estate", *houses) as estate:
                await scenario(estate)

        asyncio.run(whole())

    return run


def spoil(house):
    """Let a host answer with other bytes than it was given."""
    packs = [path for path in house.premises.directory.rglob("packs/*/*") if path.suffix != ".leaves"]
    for path in packs:
        data = bytearray(path.read_bytes())
        for at in range(64, len(data), 4096):
            data[at] ^= 1
        path.write_bytes(data)


# --- find
def test_find_tells_all_snapshots_newest_first_or_those_named(house, tree, play):
    async def scenario(estate):
        first = (await estate.back_up(tree)).snapshot
        (tree / "new.txt").touch()
        second = (await estate.back_up(tree)).snapshot
        result, told = await ask(estate, FindRequest(patterns=["*.txt"]))
        assert (result.snapshots, result.matches, result.unreadable) == (2, 5, 0)
        names = [(row["snapshot"], below(row, tree)) for row in told.rows]
        assert names[:3] == [(second, name) for name in ("a.txt", "new.txt", "sub/b.txt")]
        assert names[3:] == [(first, name) for name in ("a.txt", "sub/b.txt")]
        assert (told.rows[0]["kind"], told.rows[0]["size"]) == ("file", 1000)
        for named in ([first], [first, first[:6]]):
            _, told = await ask(estate, FindRequest(patterns=["new.txt", "link"], snapshots=named))
            assert [row["target"] for row in told.rows] == ["a.txt"]
        _, told = await ask(estate, FindRequest(patterns=["new.txt"], snapshots=["latest"]))
        assert len(told.rows) == 1

    play(scenario, house)


def test_find_hands_many_matches_on_in_several_events(house, tree, play):
    for number in range(BATCH_ROWS + 1):
        (tree / f"{number}.png").touch()

    async def scenario(estate):
        await estate.back_up(tree)
        result, told = await ask(estate, FindRequest(patterns=["*.png"]))
        assert result.matches == len(told.rows) == BATCH_ROWS + 1
        assert told.events.count("rows") == 2

    play(scenario, house)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"patterns": []}, UserError),
        ({"patterns": [""]}, UserError),
        ({"kinds": ["door"]}, UserError),
        ({"snapshots": ["zzzz"]}, NotFoundError),
        ({"snapshots": ["0000"]}, NotFoundError),
        ({"tag": "none"}, NotFoundError),
        ({"path": "/elsewhere"}, NotFoundError),
    ],
)
def test_find_refuses_what_can_not_be(house, tree, play, changes, error):
    async def scenario(estate):
        await estate.back_up(tree)
        with pytest.raises(error) as caught:
            await ask(estate, FindRequest(**{"patterns": ["*"], **changes}))
        assert type(caught.value) is error

    play(scenario, house)


def test_find_works_while_the_host_is_away_as_long_as_the_folders_are_cached(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        estate.sight.away = {house.peer}
        assert (await ask(estate, FindRequest(patterns=["*.txt"])))[0].matches == 2
        assert (await ask(estate, StatsRequest()))[0].files == 2
        assert (await ask(estate, DiffRequest(old="latest", new="latest")))[1].rows == []

    play(scenario, house)


def test_find_names_folders_that_came_back_wrong_and_goes_on(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        estate.lose_repository("trees")
        spoil(house)
        result, told = await ask(estate, FindRequest(patterns=["*"]))
        assert (result.matches, result.unreadable) == (0, 1)
        assert "error-file" in told.events

    play(scenario, house)


def test_an_index_that_was_lost_is_brought_back_before_anything_is_looked_at(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        for request in (FindRequest(patterns=["*"]), StatsRequest(), DiffRequest(old="latest", new="latest")):
            estate.lose_repository()
            await ask(estate, request)
        estate.lose_repository()
        result, told = await ask(estate, DumpRequest(snapshot="latest", path=str(tree / "a.txt")))
        assert (told.data, result.bytes) == (b"a" * 1000, 1000)

    play(scenario, house)


# --- diff
def test_diff_tells_changes_and_counts_them(house, tree, play):
    async def scenario(estate):
        old = (await estate.back_up(tree)).snapshot
        (tree / "a.txt").write_text("changed")
        (tree / "sub" / "b.txt").unlink()
        (tree / "new").mkdir()
        (tree / "new" / "c").write_text("12345")
        (tree / "link").unlink()
        (tree / "link").touch()
        new = (await estate.back_up(tree)).snapshot
        result, told = await ask(estate, DiffRequest(old=old, new="latest"))
        assert [(row["change"], below(row, tree)) for row in told.rows] == [
            ("M", "a.txt"),
            ("T", "link"),
            ("+", "new"),
            ("+", "new/c"),
            ("-", "sub/b.txt"),
        ]
        assert (told.rows[0]["size"], told.rows[0]["old_size"]) == (7, 1000)
        assert (told.rows[1]["kind"], told.rows[1]["old_kind"]) == ("file", "symlink")
        assert (told.rows[4]["kind"], told.rows[4]["size"]) == ("file", 2000)
        assert (result.old, result.new) == (old, new)
        assert (result.files_added, result.files_removed, result.files_changed) == (2, 1, 1)
        assert (result.dirs_added, result.others_removed) == (1, 1)
        assert (result.added_bytes, result.removed_bytes) == (12, 3000)
        _, told = await ask(estate, DiffRequest(old=old, new=new, metadata=True))
        assert {"U"} < {row["change"] for row in told.rows}

    play(scenario, house)


def test_metadata_is_counted_also_where_it_is_not_named_and_what_is_only_on_the_way_is_not(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        (tree / "a.txt").chmod(0o640)
        os.utime(tree / "sub" / "b.txt", ns=(1, 1))
        os.utime(tree.parent, ns=(1, 1))
        (old,), new = [name.hex() for name, _ in list_snapshots(estate.vault.repository.index)], "latest"
        await estate.back_up(tree)
        result, told = await ask(estate, DiffRequest(old=old, new=new))
        assert (result.metadata_changed, told.rows) == (2, [])
        result, told = await ask(estate, DiffRequest(old=old, new=new, metadata=True))
        assert (result.metadata_changed, [below(row, tree) for row in told.rows]) == (2, ["a.txt", "sub/b.txt"])

    play(scenario, house)


def test_diff_compares_places_of_other_names_and_single_files(house, tree, play):
    (tree / "copy").mkdir()
    (tree / "copy" / "b.txt").write_text("other")

    async def scenario(estate):
        await estate.back_up(tree)

        async def differ(old, new):
            request = DiffRequest(old="latest", old_path=old, new="latest", new_path=new)
            return [(row["change"], row["path"]) for row in (await ask(estate, request))[1].rows]

        assert await differ(str(tree / "sub"), str(tree / "copy")) == [("M", "b.txt")]
        assert await differ(str(tree / "sub/b.txt"), str(tree / "copy/b.txt")) == [("M", f"{tree}/copy/b.txt"[1:])]
        assert await differ(str(tree / "sub"), str(tree / "sub")) == []
        assert (await differ("/", str(tree / "a.txt")))[0][0] == "T"
        with pytest.raises(NotFoundError):
            await differ(str(tree / "no"), "/")
        with pytest.raises(UserError):
            await differ("relative", "/")

    play(scenario, house)


# --- stats
def test_latest_may_be_of_a_set(house, tree, play):
    async def scenario(estate):
        request = BackupRequest(servers=[], paths=[str(tree)], set="docs")
        kept = await BackupJob(estate.vault, request, Reporter(estate._emit), Paths(request)).run()
        (tree / "a.txt").write_bytes(b"b" * 10)
        await estate.back_up(tree)
        place = {"path": str(tree / "a.txt"), "snapshot": "latest"}
        _, told = await ask(estate, DumpRequest(**place, set="docs"))
        assert told.data == b"a" * 1000
        _, told = await ask(estate, DumpRequest(**place))
        assert told.data == b"b" * 10
        result, _ = await ask(estate, StatsRequest(set="docs"))
        assert result.snapshots == [kept.snapshot]
        all_of_it, _ = await ask(estate, StatsRequest())
        assert 0 < result.hosts[0].packs < all_of_it.hosts[0].packs, "of a set, as of named snapshots, its own packs"
        await ask(estate, DiffRequest(old=kept.snapshot, new="latest", set="docs"))
        with pytest.raises(UserError, match="--set"):
            await ask(estate, DiffRequest(old=kept.snapshot, new=kept.snapshot, set="docs"))
        with pytest.raises(NotFoundError, match="no snapshot of a set 'other'"):
            await ask(estate, DumpRequest(**place, set="other"))

    play(scenario, house)


def test_a_restore_of_what_nothing_fits_says_so_and_one_of_a_folder_is_fine(house, tree, play, tmp_path):
    async def scenario(estate):
        (tree / "empty").mkdir()
        await estate.back_up(tree)

        async def restore(pattern):
            request = RestoreRequest(servers=[], snapshot="latest", target=str(tmp_path / "out"), include=(pattern,))
            return await RestoreJob(estate.vault, request, Reporter(estate._emit), estate._emit).run()

        with pytest.raises(NotFoundError, match=r"fits \*\.jpg"):
            await restore("*.jpg")
        assert (await restore("empty/")).files == 0

    play(scenario, house)


def test_stats_count_what_was_saved_and_what_the_host_keeps(house, tree, play):
    async def scenario(estate):
        first = (await estate.back_up(tree)).snapshot
        (tree / "a.txt").write_text("changed")
        await estate.back_up(tree)
        all_of_it, _ = await ask(estate, StatsRequest())
        assert (len(all_of_it.snapshots), all_of_it.files, all_of_it.bytes) == (2, 4, 3000 + 2007)
        assert all_of_it.data_blobs == 3
        assert all_of_it.dedup_ratio == round(5007 / 3007, 3)
        assert all_of_it.compression_ratio == round(all_of_it.unique_bytes / all_of_it.stored_bytes, 3)
        packs = [path for path in house.premises.directory.rglob("packs/*/*") if path.suffix != ".leaves"]
        (volume,) = all_of_it.hosts
        assert volume.peer_id == format_peer_id(house.peer)
        assert (volume.packs, volume.stored_bytes) == (len(packs), sum(path.stat().st_size for path in packs))
        one, _ = await ask(estate, StatsRequest(snapshots=[first]))
        assert (one.snapshots, one.files, one.bytes, one.data_blobs) == ([first], 2, 3000, 2)
        assert (one.packs, one.hosts[0].packs) == (1, 1)
        with pytest.raises(NotFoundError):
            await ask(estate, StatsRequest(snapshots=["nope"]))

    play(scenario, house)


# --- dump
def test_dump_tells_a_file_as_its_bytes_and_a_folder_as_an_archive(house, tree, play):
    (tree / "big").write_bytes(os.urandom(3_000_000))

    async def scenario(estate):
        await estate.back_up(tree)
        result, told = await ask(estate, DumpRequest(snapshot="latest", path=str(tree / "big")))
        assert told.data == (tree / "big").read_bytes()
        assert (told.events[0], result.format, result.files, result.bytes) == ("start", "file", 1, 3_000_000)
        for request in (
            DumpRequest(snapshot="latest", path=str(tree)),
            DumpRequest(snapshot="latest"),
            DumpRequest(snapshot="latest", path=str(tree / "big"), archive="tar"),
            DumpRequest(snapshot="latest", path=str(tree / "link"), archive="tar"),
        ):
            result, told = await ask(estate, request)
            with tarfile.open(fileobj=io.BytesIO(told.data)) as tar:
                assert len([member for member in tar if member.isreg()]) == result.files
            assert (result.format, result.errors) == ("tar", 0)

    play(scenario, house)


@pytest.mark.parametrize(
    ("request_of", "error"),
    [
        (lambda tree: DumpRequest(snapshot="latest", path=f"{tree}/no"), NotFoundError),
        (lambda _: DumpRequest(snapshot="0000", path="/"), NotFoundError),
        (lambda _: DumpRequest(snapshot="latest", path="relative"), UserError),
        (lambda tree: DumpRequest(snapshot="latest", path=f"{tree}/link"), UserError),
        (lambda tree: DumpRequest(snapshot="latest", path=f"{tree}", archive="zip"), UserError),
    ],
)
def test_dump_refuses_what_has_no_bytes_before_the_first_byte(house, tree, play, request_of, error):
    async def scenario(estate):
        await estate.back_up(tree)
        told = Told()
        with pytest.raises(error) as caught:
            await told.run(estate, request_of(tree))
        assert type(caught.value) is error
        assert caught.value.hint
        assert (told.data, "start" in told.events) == (b"", False)

    play(scenario, house)


def test_dump_of_what_the_host_spoilt_is_an_integrity_fault(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        spoil(house)
        told = Told()
        with pytest.raises(IntegrityFault, match=r"a\.txt"):
            await told.run(estate, DumpRequest(snapshot="latest", path=str(tree / "a.txt")))
        assert told.data == b""

    play(scenario, house)


def test_dump_from_a_second_host_when_the_first_is_spoilt(house, other, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        spoil(house)
        _, told = await ask(estate, DumpRequest(snapshot="latest", path=str(tree / "a.txt")))
        assert told.data == b"a" * 1000

    play(scenario, house, other)


@pytest.mark.parametrize("weather", [PeerUnreachable, NoSignaling])
def test_while_the_host_is_away_what_needs_it_is_unreachable(house, tree, play, monkeypatch, weather):
    monkeypatch.setattr("backuppeer.agent.owner.fetch.RETRY_BUDGET_S", 0.0)

    async def gone(_):
        raise weather("away")

    async def scenario(estate):
        await estate.back_up(tree)
        monkeypatch.setattr(estate.sight, "session", gone)
        with pytest.raises(PeerUnreachable, match=r"a\.txt"):
            await ask(estate, DumpRequest(snapshot="latest", path=str(tree / "a.txt"), wait_s=0))
        estate.lose_repository("trees")
        old = DiffRequest(old="latest", old_path=str(tree), new="latest", new_path="/")
        for request in (FindRequest(patterns=["x"]), StatsRequest(), old):
            with pytest.raises(PeerUnreachable, match="away"):
                await ask(estate, request)

    play(scenario, house)

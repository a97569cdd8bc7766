"""What a host lost or holds back: never passed over in silence, and no dead end for the owner."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.estates import estate_of
from backuppeer.agent.commands.owner import OwnerCommands
from backuppeer.agent.owner.losses import Losses, Witnesses, check_choice
from backuppeer.control.api import SnapshotsRequest
from backuppeer.errors import IncompleteError, IntegrityFault, PeerUnreachable, RefusedError
from backuppeer.ids import SnapshotId
from backuppeer.limits import LOSSES_NAMED
from backuppeer.trust.evidence import Kind

FIRST, SECOND, THIRD = (SnapshotId(bytes([n]) * 32) for n in (1, 2, 3))


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def packs_of(house):
    return {path for path in house.premises.directory.rglob("packs/*/*") if path.suffix != ".leaves"}


def lose(house, packs):
    """Let a host lose packs, as after a fault of its disk: its catalogue finds out when it starts."""
    assert packs
    for path in packs:
        path.unlink()
    house.premises.close()


async def back_up_thrice(estate, tree, house, *, keep):
    """Make three backups, each with a file of its own (gone in the next unless `keep`); return ids and new packs."""
    made, packs = [], []
    for name in ("1", "2", "3"):
        (tree / name).write_text(name * 1000)
        before = packs_of(house)
        made.append((await estate.back_up(tree)).snapshot)
        packs.append(packs_of(house) - before)
        if not keep:
            (tree / name).unlink()
    return made, packs


def restored(target):
    return sorted(path.name for path in target.rglob("*") if path.is_file())


def snapshots(estate):
    return [snapshot.hex() for snapshot, _ in estate.vault.repository.index.snapshots()]


def play(owner, folder, scenario, *houses):
    async def run():
        async with estate_of(owner, folder, *houses) as estate:
            await scenario(estate)

    asyncio.run(run())


def test_a_lost_older_snapshot_hides_none_of_the_others_and_is_named(house, owner, tree, tmp_path):
    async def scenario(estate):
        made, packs = await back_up_thrice(estate, tree, house, keep=False)
        lose(house, packs[1])
        estate.lose_repository()
        await estate.restore("latest", tmp_path / "out")
        assert restored(tmp_path / "out") == ["3"]
        assert any(f"snapshot {made[1][:8]} and 1 of 3 packs of head 3 are missing" in n for n in estate.notes)
        assert any("lost or withheld by" in note for note in estate.notes)
        await estate.restore(made[0], tmp_path / "first")
        assert restored(tmp_path / "first") == ["1"]
        with pytest.raises(IntegrityFault, match=f"snapshot {made[1][:8]}"):
            await estate.restore(made[1][:10], tmp_path / "second")

    play(owner, tmp_path / "estate", scenario, house)


@pytest.mark.parametrize("index_only", [False, True])
def test_latest_is_refused_when_the_newest_snapshot_is_lost_and_older_ones_go_by_id(
    house, owner, tree, tmp_path, index_only
):
    async def scenario(estate):
        made, packs = await back_up_thrice(estate, tree, house, keep=False)
        lose(house, packs[2])
        if index_only:
            # A home set back to before that backup knows the newer head from the host, and no more than that.
            estate.lose_repository("index", "trees")
        else:
            estate.lose_repository()
        with pytest.raises(IntegrityFault, match=r"of head 3 .*missing: its data was lost or withheld by") as told:
            await estate.restore("latest", tmp_path / "out")
        assert "by its id" in told.value.hint
        assert restored(tmp_path / "out") == []
        await estate.restore(made[1], tmp_path / "second")
        assert restored(tmp_path / "second") == ["2"]

    play(owner, tmp_path / "estate", scenario, house)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_an_owner_who_lost_its_index_gets_past_a_lost_pack(house, owner, tree, tmp_path, lost):
    async def scenario(estate):
        made, packs = await back_up_thrice(estate, tree, house, keep=True)
        lose(house, packs[lost])
        estate.lose_repository()
        new = (await estate.back_up(tree)).snapshot
        rest = [snapshot for number, snapshot in enumerate(made) if number != lost]
        assert snapshots(estate) == [*rest, new]
        assert any("missing: its data was lost or withheld by" in note for note in estate.notes)
        estate.notes.clear()
        estate.lose_repository()
        await estate.restore("latest", tmp_path / "out")
        assert restored(tmp_path / "out") == ["1", "2", "3"]
        assert not any("missing" in note for note in estate.notes), "the new head names only what is there"
        assert snapshots(estate) == [*rest, new]

    play(owner, tmp_path / "estate", scenario, house)


def test_a_lost_snapshot_that_is_named_by_the_head_is_named_when_it_is_dropped(house, owner, tree, tmp_path):
    async def scenario(estate):
        made, packs = await back_up_thrice(estate, tree, house, keep=True)
        lose(house, packs[1])
        estate.lose_repository()
        await estate.back_up(tree)
        assert f"snapshot {made[1][:8]} can't be had any more: from now on it is left out" in estate.notes

    play(owner, tmp_path / "estate", scenario, house)


async def back_up_forgiven(estate, tree, house):
    """Back up to the only host, which is caught at a loss just now: to none at first, then as its person says."""
    with pytest.raises(RefusedError, match="gets no new data"):
        await estate.back_up(tree)
    estate.forgive(house)
    return await estate.back_up(tree)


def test_what_the_home_still_has_of_a_lost_pack_is_sent_again(house, owner, tree, tmp_path):
    async def scenario(estate):
        made, packs = await back_up_thrice(estate, tree, house, keep=True)
        lose(house, packs[1])
        (tree / "4").write_text("4")
        made.append((await back_up_forgiven(estate, tree, house)).snapshot)
        assert Kind.INTEGRITY_FAULT in estate.seen(house), "that stays evidence"
        estate.lose_repository()
        estate.notes.clear()
        await estate.restore(made[1], tmp_path / "out")
        assert restored(tmp_path / "out") == ["1", "2"]
        assert snapshots(estate) == made
        assert not any("missing" in note for note in estate.notes)

    play(owner, tmp_path / "estate", scenario, house)


def test_folders_of_older_snapshots_are_sent_again_from_the_cache(house, owner, tree, tmp_path):
    async def scenario(estate):
        made, packs = await back_up_thrice(estate, tree, house, keep=False)
        lose(house, packs[1])
        (tree / "4").write_text("4")
        await back_up_forgiven(estate, tree, house)
        estate.lose_repository()
        with pytest.raises(IntegrityFault, match="came back wrong or not at all: 1 file;"):
            await estate.restore(made[1], tmp_path / "out")
        assert (tmp_path / "out" / str(tree)[1:]).is_dir(), "the file is lost, its folder is not"

    play(owner, tmp_path / "estate", scenario, house)


@pytest.mark.parametrize("holder", [0, 1])
def test_an_owner_that_lost_its_index_alone_reads_the_packs_of_whichever_host_has_them(
    house, other, owner, tree, holder
):
    (tree / "a").write_text("content" * 1000)
    holding = [house, other][holder]

    async def scenario(estate):
        await estate.back_up(tree, holding)
        # Which host lists first is left to chance: the ledger must not stand in for what the index does not know.
        estate.lose_repository("index")
        for number in range(2):
            done = await estate.restore("latest", tree.parent / f"out{number}")
            assert (done.files, done.errors) == (1, 0)

    play(owner, tree.parent / "estate", scenario, house, other)


def test_what_only_a_host_that_is_away_may_have_is_not_lost(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        made, packs = await back_up_thrice(estate, tree, house, keep=True)
        lose(house, packs[1])
        estate.lose_repository()
        estate.sight.away.add(other.peer)
        with pytest.raises(PeerUnreachable, match=r"nothing was written: .* can't be reached"):
            await estate.back_up(tree)
        with pytest.raises(PeerUnreachable, match=made[1][:8]):
            await estate.restore(made[1], tmp_path / "out")
        estate.sight.away.clear()
        made.append((await estate.back_up(tree)).snapshot)
        assert snapshots(estate) == made, "nothing was dropped"

    play(owner, tmp_path / "estate", scenario, house, other)


def losses(*names, **changes):
    return Losses(head=3, names=names, **changes)


@pytest.mark.parametrize(
    ("text", "chosen", "names"),
    [
        ("latest", SECOND, [(FIRST, True), (SECOND, True), (THIRD, False)]),
        ("LATEST", FIRST, [(FIRST, True), (SECOND, False), (THIRD, True)]),  # the third has another tag
        ("latest", None, [(FIRST, False)]),
        (SECOND.hex()[:6], None, [(FIRST, True), (SECOND, False)]),
    ],
)
def test_a_choice_that_may_mean_a_missing_snapshot_is_refused(text, chosen, names):
    with pytest.raises(IntegrityFault, match=r"^snapshot \w+ of head 3 is missing: .* withheld by bob$"):
        check_choice(text, chosen, losses(*names), Witnesses(["bob"]))


@pytest.mark.parametrize(
    ("text", "chosen", "names"),
    [
        ("latest", THIRD, [(FIRST, False), (SECOND, False), (THIRD, True)]),
        (FIRST.hex(), FIRST, [(FIRST, True), (SECOND, False)]),
        ("ffff", None, [(FIRST, True), (SECOND, False)]),
    ],
)
def test_a_choice_that_can_mean_no_missing_snapshot_stands(text, chosen, names):
    check_choice(text, chosen, losses(*names), Witnesses(["bob"]))


def test_without_the_list_of_snapshots_neither_latest_nor_an_unknown_id_is_taken_for_granted():
    unlisted = losses((FIRST, True), is_listed=False, is_list_read=False)
    for text, chosen in (("latest", FIRST), ("abcd", None)):
        with pytest.raises(IntegrityFault, match="the list of its snapshots of head 3 is missing"):
            check_choice(text, chosen, unlisted, Witnesses(["bob"]))
    check_choice(FIRST.hex(), FIRST, unlisted, Witnesses(["bob"]))


def test_a_few_missing_snapshots_are_named_and_the_rest_is_counted():
    names = [(SnapshotId(bytes([n]) * 32), False) for n in range(LOSSES_NAMED + 2)]
    text = losses(*names, packs=2, packs_known=9).describe()
    assert text.endswith("06060606 and 2 more and 2 of 9 packs of head 3 are missing")
    assert text.count(", ") == LOSSES_NAMED - 1


def test_work_done_but_for_a_host_that_is_away_is_incomplete_and_for_a_loss_wrong():
    missing = losses((FIRST, False))
    away = Witnesses(["bob"], ["carol"]).explain(missing, found="found 2 snapshots")
    assert isinstance(away, IncompleteError)
    assert "carol, which may have it, can't be reached" in away.message
    lost = Witnesses(["bob"]).explain(missing, found="found 2 snapshots")
    assert isinstance(lost, IntegrityFault)
    assert lost.message.startswith("found 2 snapshots, but snapshot 01010101 of head 3 is missing")
    assert "packs of head 3" in losses(is_list_read=False).describe()


def rows(estate):
    door = OwnerCommands(SimpleNamespace(parts=None, owner=SimpleNamespace(vault=estate.vault, auditor=estate.auditor)))
    return {row.snapshot: row for row in door._snapshots(SnapshotsRequest())}


def test_a_snapshot_of_another_folder_that_lost_a_part_does_not_pass_for_whole(house, owner, tree, tmp_path):
    async def scenario(estate):
        other = tmp_path / "other"
        other.mkdir()
        (other / "deep").mkdir()
        (other / "deep" / "file").write_text("of another set" * 1000)
        before = packs_of(house)
        first = (await estate.back_up(other)).snapshot
        lost = packs_of(house) - before
        (tree / "1").write_text("1" * 1000)
        second = (await estate.back_up(tree)).snapshot
        assert not any(row.incomplete for row in rows(estate).values())
        lose(house, lost)
        third = (await back_up_forgiven(estate, tree, house)).snapshot
        assert f"snapshot {first[:8]} is incomplete from now on: a part of it is at no host" in estate.notes
        shown = rows(estate)
        assert [(shown[name].incomplete, len(shown[name].peers)) for name in (first, second, third)] == [
            (True, 0),
            (False, 1),
            (False, 1),
        ]
        with pytest.raises(IntegrityFault):
            await estate.restore(first, tmp_path / "out")
        estate.notes.clear()
        await estate.back_up(tree)
        assert rows(estate)[first].incomplete, "said as long as it is so"
        assert not any("incomplete" in note for note in estate.notes), "and told once"
        # The files are still here: the next backup of that folder brings what was lost, and the old snapshot with it.
        await estate.back_up(other)
        assert not any(row.incomplete for row in rows(estate).values())
        await estate.restore(first, tmp_path / "out")
        assert restored(tmp_path / "out") == ["file"]

    play(owner, tmp_path / "estate", scenario, house)

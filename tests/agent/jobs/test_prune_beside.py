"""A prune beside other work: what somebody stored, and nobody named yet when the prune began, is not its to take."""

import asyncio
import io

import pytest

from agent.estates import estate_of
from agent.houses import WISH, HostHouse
from agent.jobs.test_check import check, large, play, repair  # noqa: F401 - fixtures
from agent.jobs.test_check import packs_of as all_packs_of
from agent.jobs.test_prune import assert_whole, back_up, commands, erase, forget, prune, stop_before
from agent.jobs.test_prune_unfinished import house, other, tree  # noqa: F401 - fixtures
from backuppeer.agent.commands.amend import AmendCommands
from backuppeer.agent.jobs.backup import BackupJob, Stream
from backuppeer.agent.owner import gathering as gathering_module
from backuppeer.agent.owner.upload import Upload
from backuppeer.agent.peers import retry as retry_module
from backuppeer.agent.reporter import reporting
from backuppeer.control.amendments import TagRequest
from backuppeer.control.saving import StreamRequest
from backuppeer.errors import PeerUnreachable
from backuppeer.limits import MIB
from noise import noise


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    monkeypatch.setattr(HostHouse, "wish", (64 * MIB, *WISH[1:]))


@pytest.mark.parametrize("is_first", [True, False])
def test_a_stream_whose_acknowledgement_was_lost_survives_a_prune_that_found_its_pack_at_the_host(
    house,  # noqa: F811
    owner,
    tree,  # noqa: F811
    tmp_path,
    *,
    monkeypatch,
    is_first,
):
    data, lost, plain = noise(5, 3_000_000), asyncio.Event(), Upload._send

    async def send(upload, target, sealed, tries):
        await plain(upload, target, sealed, tries)
        if not lost.is_set():
            lost.set()
            raise PeerUnreachable("the connection broke before the acknowledgement came")

    monkeypatch.setattr(Upload, "_send", send)
    monkeypatch.setattr(retry_module.random, "uniform", lambda *_: 3.0)  # what it may be after three tries

    async def stream(estate):
        request = StreamRequest(servers=[], name="dump.sql")
        async with estate.vault.busy, reporting(estate._emit) as reporter:
            subject = Stream("dump.sql", io.BytesIO(data).readinto)
            return await BackupJob(estate.vault, request, reporter, subject).run()

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            if not is_first:
                await back_up(estate, tree("o"), {})
            backup = asyncio.create_task(stream(estate))
            await lost.wait()
            work = asyncio.create_task(prune(estate, max_unused_bytes=0))
            await backup
            await work
            erase(house)
            await estate.restore("latest", tmp_path / "out")
            (found,) = (tmp_path / "out").rglob("dump.sql")
            assert found.read_bytes() == data

    asyncio.run(scenario())


@pytest.mark.parametrize("with_victims", [False, True])
def test_a_tagged_snapshot_survives_a_prune_that_began_before_its_head_stood(
    house,  # noqa: F811
    owner,
    tree,  # noqa: F811
    tmp_path,
    *,
    monkeypatch,
    with_victims,
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b"), wanted)
            kept = await back_up(estate, tree("a", "x"), wanted)
            if with_victims:
                await forget(estate, gone)
                del wanted[gone]
            entered, go_on = asyncio.Event(), asyncio.Event()
            with monkeypatch.context() as patch:
                stop_before(patch, gathering_module.Gathering, "leave_head", entered, go_on)
                request = TagRequest(snapshots=[kept.hex()], add=["t"])
                tagging = asyncio.create_task(commands(estate, AmendCommands).tag(request, estate._emit))
                await entered.wait()
            work = asyncio.create_task(prune(estate, max_unused_bytes=0))
            await estate.hear("waiting for the backup", work)
            go_on.set()
            await tagging
            await work
            wanted[estate.snapshots()[-1]] = wanted.pop(kept)
            erase(house)
            estate.lose_repository()
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_the_list_that_a_repair_made_is_not_pruned(house, large, tmp_path, play):  # noqa: F811
    async def scenario(estate):
        await estate.back_up(large)
        (large / "one more").write_bytes(b"x" * 1000)
        await estate.back_up(large)
        made = estate.snapshots()
        all_packs_of(house)[-1].unlink()  # of the second backup: trees, snapshot, list
        house.premises.close()
        result, _ = await check(estate)
        await repair(estate, result)
        assert not estate.vault.repository.index.turnover.fresh()
        await prune(estate)
        erase(house)
        estate.lose_repository()
        await estate.restore(made[0].hex(), tmp_path / "out")
        assert estate.snapshots() == made
        assert estate.vault.is_whole()

    play(scenario, house)


def test_a_damaged_head_at_the_host_is_healed_and_blamed_on_nobody_else(
    house,  # noqa: F811
    owner,
    tree,  # noqa: F811
    tmp_path,
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b", "c"), wanted)
            await back_up(estate, tree("a", "x", "y"), wanted)
            await forget(estate, gone)
            del wanted[gone]
            await prune(estate)
            (path,) = house.premises.directory.rglob("head")
            path.write_bytes(b"rotten" * 50)
            house.premises.close()
            await back_up(estate, tree("a", "w"), wanted)
            assert not any("another machine" in note for note in estate.notes)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())

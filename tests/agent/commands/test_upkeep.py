"""What each command begins with: files that were deleted or replaced under the agent are taken up anew, or told."""

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from agent.estates import estate_of
from backuppeer.agent.commands.upkeep import look_first
from backuppeer.agent.peers.parting import HERE, LeftAlone, Parting
from backuppeer.cli.routing import make_handlers
from backuppeer.clock import SystemClock
from backuppeer.errors import LocalError


def agent_of(estate):
    reach = SimpleNamespace(parting=Parting(SystemClock()))
    parts = SimpleNamespace(state=estate.state, home=estate.home, reach=reach)
    return SimpleNamespace(parts=parts, owner=SimpleNamespace(vault=estate.vault), stopping=asyncio.Event())


async def look(estate):
    async def count(start, *, step):
        return start + step

    assert await look_first(agent_of(estate), "backup", count)(1, step=2) == 3


def delete(estate, name):
    (path,) = estate.home.path.rglob(name)
    path.unlink()
    return path


@pytest.mark.parametrize("about", ["index", "ledger", "trees", "partial"])
def test_a_database_that_was_deleted_is_opened_anew_and_named(house, owner, tree, tmp_path, about):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await estate.back_up(tree())
            before = estate.vault.repository
            await look(estate)
            assert estate.vault.repository is before, "nothing was deleted"
            path = delete(estate, f"{about}.db")
            await look(estate)
            assert path.exists()
            assert estate.vault.repository is not before
            assert [found for found, _ in estate.vault.repository.notes] == [about]
            before.index.snapshots()  # whoever reads in the old one is not cut off
            await estate.back_up(tree())
            assert len(estate.snapshots()) == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("route", "is_left_alone"),
    [("doctor/peers", True), ("doctor/network", True), ("status", True), ("backup", False), ("dump", False)],
)
def test_a_peer_is_left_alone_until_a_command_needs_it_which_doctor_does_not(
    house, owner, tmp_path, route, is_left_alone
):
    async def command():
        return 0

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            agent = agent_of(estate)
            agent.parts.reach.parting.hold(house.peer, HERE)
            await look_first(agent, route, command)()
            with pytest.raises(LeftAlone) if is_left_alone else nullcontext():
                agent.parts.reach.parting.check(house.peer)

    asyncio.run(scenario())


def test_nothing_is_exchanged_under_a_job_that_writes(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await estate.back_up(tree())
            before = estate.vault.repository
            delete(estate, "index.db")
            for lock in (estate.vault.busy, estate.vault.pruning):
                async with lock:
                    await look(estate)
                    assert estate.vault.repository is before
            await look(estate)
            assert estate.vault.repository is not before

    asyncio.run(scenario())


def test_the_state_is_written_again_and_one_that_was_replaced_is_refused(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await estate.back_up(tree())
            agreements = list(estate.state.agreements())
            path = delete(estate, "state.db")
            await look(estate)
            assert path.exists()
            assert list(estate.state.agreements()) == agreements
            path.rename(path.with_name("aside"))
            path.write_bytes(path.with_name("aside").read_bytes())
            with pytest.raises(LocalError, match="was replaced while the agent was running"):
                await look(estate)
            path.unlink()
            path.with_name("aside").rename(path)
            await look(estate)

    asyncio.run(scenario())


def test_an_agent_whose_home_was_moved_away_ends_and_says_so(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await estate.back_up(tree())
            agent = agent_of(estate)
            look = look_first(agent, "snapshots", estate.back_up)
            moved = estate.home.path.rename(tmp_path / "moved")
            with pytest.raises(LocalError, match="was moved or removed while its agent was running") as told:
                await look(tree())
            assert "--home" in told.value.hint
            assert agent.stopping.is_set()
            moved.rename(estate.home.path)

    asyncio.run(scenario())


def test_an_agent_can_be_found_and_stopped_whatever_became_of_its_files():
    async def scenario():
        handlers = make_handlers(MagicMock())
        assert {name for name, handler in handlers.items() if not hasattr(handler, "__wrapped__")} == {"ping", "stop"}

    asyncio.run(scenario())

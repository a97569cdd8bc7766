"""Hosts that sets name: gone ones are left out by name, and one that takes another's place does so in sets, too."""

import asyncio

import pytest

from agent.estates import estate_of
from backuppeer.agent.home.config import Config, read_config
from backuppeer.agent.home.config_writer import write_config
from backuppeer.agent.home.sets import BackupSet
from backuppeer.agent.jobs.set_run import run_backup
from backuppeer.agent.owner.ending import Ending
from backuppeer.agent.owner.lagging import describe_lacking
from backuppeer.agent.owner.set_hosts import find_naming, put_in_place, read_sets
from backuppeer.agent.reporter import Reporter
from backuppeer.control.saving import BackupRequest
from backuppeer.errors import NotFoundError
from backuppeer.ids import format_peer_id


@pytest.fixture
def play(owner, house, other, tree, tmp_path):
    """Run a scenario with two hosts and a set `default` that names some."""

    def play(scenario, *named):
        async def run():
            async with estate_of(owner, tmp_path / "estate", house, other) as estate:
                names = [format_peer_id(host.peer) for host in named]
                chosen = BackupSet(paths=[str(tree())], peers=names, copies=2)
                write_config(estate.home, Config(sets={"default": chosen}))
                await scenario(estate)

        asyncio.run(run())

    return play


async def back_up(estate):
    request = BackupRequest(servers=[], set="default")
    return await run_backup(estate.vault, estate.home, request, Reporter(estate._emit))


def leave(estate, house):
    """What is left when the notice of a host is over."""
    agreement = next(a for a, host, _ in estate.state.agreements() if host == house.peer)
    estate.state.end_agreement(agreement)


def test_a_host_of_a_set_that_keeps_nothing_any_more_is_left_out_by_name(play, house, other):
    async def scenario(estate):
        leave(estate, house)
        result = await back_up(estate)
        assert result.peers == [format_peer_id(other.peer)]
        (out,) = result.left_out
        assert (out.name, result.copies) == (format_peer_id(house.peer), 2)
        assert "keeps no backups of yours" in out.reason
        assert "[sets.default]" in out.hint

    play(scenario, house, other)


def test_a_set_that_names_gone_hosts_alone_says_so(play, house):
    async def scenario(estate):
        leave(estate, house)
        with pytest.raises(NotFoundError, match="set default names only hosts that keep no backups of yours") as told:
            await back_up(estate)
        assert "[sets.default]" in told.value.hint

    play(scenario, house)


def test_a_host_of_a_set_that_the_person_ended_is_named_as_that(play, house, other):
    async def scenario(estate):
        await Ending(estate.state, estate.vault._keys, estate.vault.clock, reach=estate.sight).end_once(house.peer)
        result = await back_up(estate)
        assert result.peers == [format_peer_id(other.peer)]
        assert [out.reason for out in result.left_out] == ["you ended the agreement with it"]

    play(scenario, house, other)


def test_a_host_takes_the_place_of_another_in_every_set_that_names_it(play, house, other):
    async def scenario(estate):
        estate.state.call(other.peer, "dave", 0)
        before = read_sets(estate.home)
        assert find_naming(before, estate.state, house.peer) == ["default"]
        assert put_in_place(estate.home, estate.state, house.peer, other.peer) == ["default"]
        assert read_config(estate.home).sets["default"].peers == ["dave"]
        assert find_naming(read_sets(estate.home), estate.state, house.peer) == []
        assert put_in_place(estate.home, estate.state, house.peer, other.peer) == []

    play(scenario, house)


def test_what_brings_up_a_host_that_no_set_names_is_a_backup_to_it(play, house, other):
    async def scenario(estate):
        await back_up(estate)
        (line,) = describe_lacking(estate.vault, estate.state, read_sets(estate.home))
        assert f"`backup-peer backup --to {estate.vault.name(other.peer)}` brings it up, as no set names it" in line
        (line,) = describe_lacking(estate.vault, estate.state)
        assert "`backup-peer backup` brings it up" in line

    play(scenario, house)

"""Leaving, with real stores and notices: both roles end, each step can be repeated, no fault of one keeps the rest."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.hosted import hosted
from agent.houses import FixedReach
from backuppeer.agent.commands.ending import EndCommands
from backuppeer.agent.commands.leaving import LeaveCommands
from backuppeer.agent.commands.retiring import RetireCommands
from backuppeer.agent.home.config import Config
from backuppeer.agent.home.config_writer import write_config
from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.home.sets import BackupSet
from backuppeer.agent.owner.ending import Ending
from backuppeer.control.leaving import LeaveRequest
from backuppeer.errors import PeerUnreachable, RefusedError, StoreUnavailable, UserError

AWAY = PeerUnreachable("away")


class Slot:
    """Stands for hosting: the offer, until it is withdrawn."""

    def __init__(self) -> None:
        self.offer = "on offer"

    async def withdraw(self):
        self.offer = None


def leaving(owner, house, reach):
    """The commands of a home that is owner by `owner`'s books and host by `house`'s."""
    agreed = Ending(owner.state, owner.keys, owner.clock, reach=FixedReach(reach))
    parts = SimpleNamespace(
        home=owner.home, state=owner.state, clock=owner.clock, keys=owner.keys, reach=FixedReach(reach)
    )
    slot = Slot()
    host = SimpleNamespace(premises=house.premises, requests=house.requests, ending=house.ending, hosting=slot)
    vault = SimpleNamespace(repository=owner.repository)
    agent = SimpleNamespace(parts=parts, host=host, owner=SimpleNamespace(ending=agreed, vault=vault))
    return LeaveCommands(agent, RetireCommands(agent, EndCommands(agent))), slot


def plan(commands):
    return asyncio.run(commands.plan(LeaveRequest(), None))


def leave(commands):
    return asyncio.run(commands.leave(LeaveRequest(confirmed=True), None))


def asked_for(owner, house, **changes):
    record = RequestRecord("0a" * 16, Direction.OUT, house.peer, 1, 1, 1, RequestState.WAITING, owner.clock.now_ms())
    owner.state.put_request(record)


def test_nothing_ends_without_a_yes_and_what_it_means_is_said_before(house, owner):
    owner.agree_with(house)
    asked_for(owner, house)
    write_config(owner.home, Config(sets={"default": BackupSet(paths=["/a"], schedule="daily 03:00")}))
    commands, slot = leaving(owner, house, AWAY)
    with pytest.raises(UserError, match="needs a yes"):
        asyncio.run(commands.leave(LeaveRequest(), None))
    told = plan(commands)
    (host,) = told.hosts
    assert (host.ended, told.owners, told.is_new, told.is_offering, told.requests) == (False, 1, True, True, 1)
    assert (told.sets, bool(host.until), bool(told.until), slot.offer) == (["default"], True, True, "on offer")


def test_both_roles_end_though_nobody_is_there_and_again_it_only_shows(house, owner):
    agreement = owner.agree_with(house)
    asked_for(owner, house)
    commands, slot = leaving(owner, house, AWAY)
    left = leave(commands)
    assert [(row.ended, row.told) for row in left.hosts] == [(True, False)]
    assert [row.told for row in left.owners] == [False]
    assert (slot.offer, bool(left.until), left.store) == (None, True, str(house.premises.directory))
    assert [record.state for record in owner.state.requests() if record.direction is Direction.OUT] == ["expired"]
    assert house.premises.open().notices.is_ended_by_host(agreement)
    after = plan(commands)
    assert (after.is_new, after.hosts[0].ended, after.owners) == (False, True, 1)
    assert leave(commands).hosts[0].until == left.hosts[0].until, "asked again nothing begins anew"


def test_a_host_that_was_away_is_told_when_it_is_run_again(house, owner):
    owner.agree_with(house)
    assert leave(leaving(owner, house, AWAY)[0]).hosts[0].told is False

    async def scenario():
        async with hosted(house, owner) as link:
            commands, _ = leaving(owner, house, link.session)
            return await commands.leave(LeaveRequest(confirmed=True), None)

    assert asyncio.run(scenario()).hosts[0].told is True


def test_a_host_that_takes_no_notice_is_named_and_the_rest_goes_on(house, owner):
    owner.agree_with(house)
    commands, slot = leaving(owner, house, RefusedError("the writing device must sign it"))
    left = leave(commands)
    assert left.hosts[0].refused == "the writing device must sign it"
    assert (left.hosts[0].ended, slot.offer) == (False, None)
    assert plan(commands).is_new, "it can be tried again"


def test_a_store_that_is_away_keeps_nobody_from_leaving_as_owner_and_is_never_empty(house, owner, monkeypatch):
    owner.agree_with(house)

    def unplugged():
        raise StoreUnavailable("the disk is away")

    monkeypatch.setattr(house.premises, "open", unplugged)
    commands, _ = leaving(owner, house, AWAY)
    assert plan(commands).store_fault == "the disk is away"
    left = leave(commands)
    assert (left.store_fault, left.hosts[0].ended, left.owners) == ("the disk is away", True, [])

"""What a machine that keeps backups for others is told before a new identity."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.heired import NAMED, WORDS
from backuppeer.agent.commands.succeed import SucceedCommands
from backuppeer.agent.host.heirship import Heirship
from backuppeer.errors import RefusedError


def commands(house, *, in_session=()):
    heirship = Heirship(house.state, house.premises, (), authority=WORDS.public, bind=lambda _: b"")
    return SucceedCommands(
        SimpleNamespace(
            host=SimpleNamespace(heirship=heirship, hosting=SimpleNamespace(offer=None)),
            parts=SimpleNamespace(state=house.state, sessions=dict.fromkeys(in_session, "a session")),
        )
    )


@pytest.mark.parametrize("is_there", [False, True])
def test_owners_are_named_by_who_follows_who_is_away_and_who_can_not(house, owner, is_there):
    owner.agree_with(house, ext=NAMED)
    house.state.call(owner.peer, "alice", 1)
    plan = asyncio.run(commands(house, in_session=[owner.peer] if is_there else [])._plan_owners())
    assert plan == (["alice"], [] if is_there else ["alice"], [], False)
    owner.agree_with(house, number=2)
    plan = asyncio.run(commands(house)._plan_owners())
    assert plan == ([], [], ["alice"], False), "one agreement that can't follow stays behind, and it is said of whom"


def test_while_the_store_is_away_nothing_is_begun_since_nobody_knows_who_could_follow(house, owner):
    owner.agree_with(house, ext=NAMED)
    house.premises.directory.rename(house.premises.directory.with_name("elsewhere"))
    with pytest.raises(RefusedError, match="the store of this machine is away") as caught:
        asyncio.run(commands(house)._plan_owners())
    assert "plug it in first" in caught.value.hint


def test_a_machine_that_keeps_nothing_names_nobody(house, owner):
    assert asyncio.run(commands(house)._plan_owners()) == ([], [], [], False)

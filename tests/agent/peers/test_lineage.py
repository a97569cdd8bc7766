"""How a person is told that a peer goes on from another identity, and which sets name it then."""

import pytest

from agent.repute.test_heirs import IDS, House, succeed
from backuppeer.agent.home.config import read_config
from backuppeer.agent.home.config_writer import write_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.sets import BackupSet
from backuppeer.agent.owner.set_hosts import follow_heirs
from backuppeer.agent.peers.lineage import describe_heirs, say_lineage
from backuppeer.errors import AuthenticationFault
from backuppeer.ids import format_peer_id, shorten_peer_id

OLD, NEW = IDS[0], IDS[1]


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.close()


def test_of_whom_no_succession_is_followed_nothing_is_said(house):
    house.state.meet(OLD, 1, alias="alice", verified=True)
    with pytest.raises(AuthenticationFault):
        house.heirs.take(succeed(0, 1), bytes(32))
    assert say_lineage(house.state, house.heirs, OLD) == say_lineage(house.state, house.heirs, NEW) == []
    assert describe_heirs(house.state, house.heirs) == []


def test_a_friend_of_before_is_told_of_until_the_words_are_compared_anew_or_it_is_shut_out(house):
    house.state.meet(OLD, 1, alias="alice", verified=True)
    house.take(0, 1)
    house.take(1, 2)
    [told] = describe_heirs(house.state, house.heirs)
    assert told.startswith(
        f"alice has a new id, {shorten_peer_id(IDS[2])}: it was a friend as {shorten_peer_id(OLD)}; "
    )
    assert "`backup-peer peers verify alice`" in told
    *before, anew = say_lineage(house.state, house.heirs, IDS[2])
    assert [line.split()[2] for line in before] == [shorten_peer_id(IDS[1]), shorten_peer_id(OLD)]
    assert anew in told
    house.state.blocks.put(IDS[2], "", 3)
    assert describe_heirs(house.state, house.heirs) == []
    house.state.blocks.drop(IDS[2])
    house.state.befriend(IDS[2], 4)
    assert describe_heirs(house.state, house.heirs) == []
    assert say_lineage(house.state, house.heirs, IDS[2]) == before


def test_an_owner_that_goes_on_is_told_of_by_the_name_of_now_until_its_words_are_compared(house):
    house.take(0, 1)
    assert describe_heirs(house.state, house.heirs) == [], "a stranger that keeps nothing here"
    [told] = describe_heirs(house.state, house.heirs, {NEW})
    assert told.startswith(f"{shorten_peer_id(OLD)} goes on as {shorten_peer_id(NEW)}, as its 24 words say: ")
    assert f"{shorten_peer_id(OLD)} gets nothing any more" in told
    house.state.call(NEW, "bob", 5)
    [told] = describe_heirs(house.state, house.heirs, {NEW})
    assert told.startswith(f"bob goes on as {shorten_peer_id(NEW)}, ")
    assert "Compare the words anew: `backup-peer peers verify bob`" in told
    house.state.befriend(NEW, 6)
    assert describe_heirs(house.state, house.heirs, {NEW}) == []


def test_of_two_heirs_the_alarm_says_what_to_do_and_no_note_says_otherwise(house):
    house.state.meet(OLD, 1, alias="alice", verified=True)
    house.take(0, 1)
    with pytest.raises(AuthenticationFault):
        house.take(0, 2)
    assert describe_heirs(house.state, house.heirs) == []


def test_sets_that_name_the_old_id_name_the_heir_and_comments_stay(house, tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    house.state.meet(OLD, 1, alias="alice")
    named = {"ids": [format_peer_id(OLD)], "names": ["alice"], "others": [format_peer_id(IDS[5])]}
    config = read_config(home)
    config.sets = {name: BackupSet(paths=["/srv"], peers=peers) for name, peers in named.items()}
    write_config(home, config)
    home.config.write_text("# mine\n" + home.config.read_text())
    house.heirs.on_followed = lambda *_: follow_heirs(home, house.state)
    house.take(0, 1)
    follow_heirs(home, house.state)
    peers = {name: chosen.peers for name, chosen in read_config(home).sets.items()}
    assert peers == {"ids": ["alice"], "names": ["alice"], "others": [format_peer_id(IDS[5])]}
    assert house.state.peer_by_alias("alice").peer == NEW
    assert home.config.read_text().startswith("# mine\n")


def test_settings_that_cannot_be_read_keep_no_succession_from_being_followed(house, tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    home.config.write_text("no toml")
    house.heirs.on_followed = lambda *_: follow_heirs(home, house.state)
    assert house.take(0, 1).new == NEW

"""What a host knows of its owners without its database: the store says it, a second copy says where that lies."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from agent.houses import HostHouse
from agent.loops import SetClock
from backuppeer.agent.agent import Agent
from backuppeer.agent.home.state import State
from backuppeer.agent.host import premises as premises_module
from backuppeer.agent.host.premises import Premises
from backuppeer.errors import LocalError, StoreUnavailable
from backuppeer.limits import ANCHOR_BYTES, MIB


def lose_state(house: HostHouse, folder) -> State:
    """Close a host and give it an empty database, as after a disk that ate it."""
    house.close()
    for part in folder.glob("state.db*"):
        part.unlink()
    return State(folder / "state.db")


def reopened(house, state):
    return Premises(state, house.identity, house.clock)


def test_a_host_that_lost_its_database_answers_its_owners_as_soon_as_the_store_is_open(house, owner, tmp_path):
    agreement = owner.agree_with(house)
    state = lose_state(house, tmp_path / "host")
    premises = reopened(house, state)
    assert premises.owners() == set()
    premises.open()
    assert premises.owners() == {owner.peer}
    assert [lease.agreement for lease in premises.leases_of(owner.peer)] == [agreement]
    premises.close()
    assert reopened(house, state).owners() == {owner.peer}, "written down again, for when the store is away"
    state.close()


def test_offering_again_brings_the_owners_back_too(house, owner, tmp_path):
    owner.agree_with(house)
    (tmp_path / "host" / "anchor.json").unlink()
    state = lose_state(house, tmp_path / "host")
    premises = reopened(house, state)
    assert premises.directory is None
    premises.establish(tmp_path / "host" / "store", 64 * MIB)
    assert premises.owners() == {owner.peer}
    premises.close()
    state.close()


def test_the_place_of_the_store_the_slot_and_the_ports_outlive_the_database(house, tmp_path):
    for key in ("host.offer", "transport.bound"):
        house.state.put_setting(key, key.encode())
    house.state.put_setting("host.seq", b"7")
    state = lose_state(house, tmp_path / "host")
    assert reopened(house, state).directory == tmp_path / "host" / "store"
    assert state.setting("host.offer") == b"host.offer"
    assert state.setting("transport.bound") == b"transport.bound"
    assert state.setting("host.seq") is None
    state.put_setting("host.offer", b"")
    assert state.setting("host.offer") == b"", "withdrawn is withdrawn"
    state.close()


@pytest.mark.parametrize(
    "spoilt", [b"", b"{", b'{"version": 2, "settings": {}}', b'{"version": 1, "settings": {"a": "x"}}']
)
def test_a_second_copy_that_cannot_be_read_is_empty_and_written_anew(house, tmp_path, spoilt):
    place = house.premises.directory
    house.close()
    anchor = tmp_path / "host" / "anchor.json"
    anchor.write_bytes(spoilt)
    State(tmp_path / "host" / "state.db").close()
    state = lose_state(house, tmp_path / "host")
    assert reopened(house, state).directory == place
    state.close()


def test_a_second_copy_is_read_up_to_its_cap(tmp_path):
    good = b'{"version": 1, "settings": {"store.directory": "2f"}}'
    (tmp_path / "anchor.json").write_bytes(good.ljust(ANCHOR_BYTES))
    state = State(tmp_path / "state.db")
    assert state.setting("store.directory") == b"/"
    state.close()
    (tmp_path / "anchor.json").write_bytes(b" " * ANCHOR_BYTES + good)
    state = State(tmp_path / "state.db")
    assert state.setting("store.directory") is None
    state.close()


def test_owners_that_cannot_be_written_down_keep_no_store_shut(house, owner, tmp_path, monkeypatch):
    owner.agree_with(house)
    state = lose_state(house, tmp_path / "host")
    premises = reopened(house, state)

    def refuse(key, value):
        raise LocalError("full")

    monkeypatch.setattr(state, "put_setting", refuse)
    premises.open()
    assert premises.owners() == {owner.peer}
    premises.close()
    state.close()


def test_owners_are_remembered_while_the_store_is_away(house, owner, tmp_path):
    owner.agree_with(house)
    house.premises.close()
    (tmp_path / "host" / "store").rename(tmp_path / "elsewhere")
    premises = Premises(house.state, house.identity, SetClock())
    with pytest.raises(StoreUnavailable):
        premises.open()
    assert premises.owners() == {owner.peer}


def test_a_store_that_came_back_is_opened_in_a_thread_before_the_loop_asks_for_it(house, owner, monkeypatch):
    agreement = owner.agree_with(house)
    house.premises.close()
    opened_in = []
    original = premises_module.open_store

    def watch(*given, **named):
        opened_in.append(threading.current_thread())
        return original(*given, **named)

    monkeypatch.setattr(premises_module, "open_store", watch)

    async def scenario():
        host = SimpleNamespace(requests=house.requests)
        await Agent.prepare(SimpleNamespace(host=host))
        return house.premises.leases_of(owner.peer)

    assert [lease.agreement for lease in asyncio.run(scenario())] == [agreement]
    assert len(opened_in) == 1
    assert opened_in[0] is not threading.main_thread()


def test_a_store_that_is_away_prevents_no_meeting(house, tmp_path):
    house.premises.close()
    (tmp_path / "host" / "store").rename(tmp_path / "elsewhere")
    house.requests.prepare()

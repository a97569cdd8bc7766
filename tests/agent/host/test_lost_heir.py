"""A host that went on as another identity and lost its home: words and store bring it back, and its owners with it."""

import pytest

from agent.houses import HostHouse
from agent.successors import MASTER, begin, go_on
from backuppeer.agent.home.handover import Opener, follow_succession
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import load_keys, recover_identity
from backuppeer.agent.home.state import State
from backuppeer.agent.home.successions import SEEN
from backuppeer.agent.host.heirship import Heirship
from backuppeer.agent.host.premises import Premises
from backuppeer.errors import StoreUnavailable
from backuppeer.host.lineage import add_lineage, read_lineage
from backuppeer.host.marker import write_marker
from backuppeer.ids import PeerId
from backuppeer.limits import GIB, SIGNED_BYTES, SUCCESSION_STEPS


class Machine:
    """A home made from the words, on a machine that has nothing else yet."""

    def __init__(self, folder, clock):
        self.home, self.clock = Home(folder), clock
        recover_identity(self.home, MASTER)
        self.state = State(self.home.state)
        self.start()

    def start(self):
        keys = self.keys = load_keys(self.home)
        self.premises = Premises(self.state, keys.identity, self.clock, former=keys.former_identities)
        self.heirship = Heirship(
            self.state, self.premises, keys.former, authority=keys.authority, bind=lambda _: b""
        )  # fmt: skip

    def close(self):
        self.premises.close()
        self.state.close()


@pytest.fixture
def machine(tmp_path, owner):
    made = Machine(tmp_path / "new", owner.clock)
    yield made
    made.close()


@pytest.fixture
def store(owner, tmp_path):
    """The store of a host that went on as another, and of which no home is left."""
    host = HostHouse(tmp_path / "nas", b"", identity=owner.keys.identity)
    directory = host.premises.directory
    host.close()
    begin(owner.home)
    keys = go_on(owner.home)
    heir = HostHouse(
        tmp_path / "nas", b"", identity=keys.identity, former=keys.former, authority=keys.authority
    )  # fmt: skip
    heir.heirship.open()
    heir.close()
    return directory


def test_the_words_alone_are_led_by_the_store_to_who_it_belongs_to_and_open_it_then(machine, store, owner):
    with pytest.raises(StoreUnavailable, match="belongs to another peer") as told:
        machine.heirship.take_up(store, GIB)
    assert "`backup-peer recover` with the words makes this home follow" in told.value.hint
    signed = machine.state.setting(SEEN)
    follow_succession(machine.home, MASTER, signed, Opener())
    machine.start()
    assert machine.keys.peer == load_keys(owner.home).peer
    assert machine.heirship.take_up(store, GIB).peer == machine.keys.peer
    assert machine.premises.names.former == (owner.peer,), "who has not followed is served under the name it knows"


@pytest.mark.parametrize("damage", [b"", b"BPLINE\r\n\x01\x00", b"BPLINE\r\n\x01" + b"\xff" * 70_000, b"other"])
def test_a_damaged_list_leads_nowhere_and_is_written_anew(machine, store, damage):
    (signed,) = read_lineage(store)
    (store / "succession").write_bytes(damage)
    with pytest.raises(StoreUnavailable) as told:
        machine.heirship.take_up(store, GIB)
    assert "it is yours" not in told.value.hint
    assert machine.state.setting(SEEN) is None
    add_lineage(store, [signed])
    assert read_lineage(store) == [signed]


def test_what_others_signed_leads_nowhere(machine, store, tmp_path):
    (signed,) = read_lineage(store)
    elsewhere = tmp_path / "planted"
    elsewhere.mkdir()
    write_marker(elsewhere / "backup-peer-store", PeerId(bytes(32)))
    add_lineage(elsewhere, [signed[:-1] + bytes([signed[-1] ^ 1])])
    with pytest.raises(StoreUnavailable) as told:
        machine.heirship.take_up(elsewhere, GIB)
    assert "it is yours" not in told.value.hint
    assert machine.state.setting(SEEN) is None


def test_only_as_many_are_kept_as_a_home_may_take_steps(tmp_path):
    successions = [bytes([n]) * SIGNED_BYTES for n in range(SUCCESSION_STEPS + 1)]
    add_lineage(tmp_path, successions)
    assert read_lineage(tmp_path) == successions[1:]

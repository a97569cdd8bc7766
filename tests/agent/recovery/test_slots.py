"""Which agreement has which recovery slot, and who hands them out."""

import asyncio
from types import SimpleNamespace

import pytest

from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import load_keys, recover_identity
from backuppeer.agent.home.state import State
from backuppeer.agent.recovery.slots import Slots
from backuppeer.clock import SystemClock
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.recovery import derive_slot
from backuppeer.ids import AgreementId, PeerId, RepositoryId
from backuppeer.limits import NOTE_SERVERS, RECOVERY_SLOTS
from backuppeer.proof.statements import ZERO_HASH, Agreement, sign_statement

OWNER_KEY, HOST_KEY = (SigningKey.from_seed(bytes(31) + bytes([number])) for number in (1, 2))
HOST = PeerId(HOST_KEY.public)


def agree(state, agreement, host=HOST_KEY):
    said = Agreement(
        agreement=agreement, revision=1, previous=ZERO_HASH, owner=PeerId(OWNER_KEY.public), host=PeerId(host.public),
        authority=OWNER_KEY.public, repository=RepositoryId(bytes(16)), size_bytes=10**9, start_ms=5, term_s=60,
        lock_s=30, availability=900, notice_s=20,
    )  # fmt: skip
    state.put_agreement(agreement, said.host, sign_statement(said, OWNER_KEY, host))


def agreements_of(state, count, first=0):
    made = [AgreementId(bytes([number, 1]) * 8) for number in range(first, first + count)]
    for agreement in made:
        agree(state, agreement)
    return made


class Ear:
    """A session that notes what was asked."""

    peer = HOST

    def __init__(self):
        self.gifts = []

    def request(self, message):
        self.gifts.append(message)
        return self

    async def __aenter__(self):
        return SimpleNamespace(receive=self.receive)

    async def __aexit__(self, *_):
        return False

    async def receive(self, *_kinds):
        return None


def hand(slots):
    ear = Ear()
    asyncio.run(slots.hand(ear))
    return ear.gifts


@pytest.fixture
def heir(tmp_path):
    home = Home(tmp_path / "heir")
    recover_identity(home, b"o" * 32)
    state = State(home.state)
    yield Slots(state, load_keys(home), SystemClock()), state
    state.close()


def test_each_agreement_gets_the_lowest_free_number_for_good_and_its_own_keys(owner):
    slots = Slots(owner.state, owner.keys, SystemClock())
    first, second = agreements_of(owner.state, 2)
    gifts = hand(slots)
    assert [slots.number_of(agreement) for agreement in (first, second)] == [0, 1]
    wanted = [derive_slot(owner.keys.working, number) for number in (0, 1)]
    assert [(gift.agreement, gift.seed, gift.key) for gift in gifts] == [
        (agreement, slot.seed, slot.opener.public) for agreement, slot in zip((first, second), wanted, strict=True)
    ]
    agreements_of(owner.state, 1, first=2)
    assert [gift.seed for gift in hand(Slots(owner.state, owner.keys, SystemClock()))][:2] == [
        gift.seed for gift in gifts
    ]
    assert len({gift.seed for gift in hand(slots)}) == 3


def test_beyond_the_last_slot_no_number_is_given_twice(owner):
    slots = Slots(owner.state, owner.keys, SystemClock())
    made = agreements_of(owner.state, RECOVERY_SLOTS + 2)
    assert len(hand(slots)) == RECOVERY_SLOTS
    numbers = [slots.number_of(agreement) for agreement in made]
    assert sorted(number for number in numbers if number is not None) == list(range(RECOVERY_SLOTS))


def test_another_host_gets_nothing(owner):
    agreements_of(owner.state, 1)
    agree(owner.state, AgreementId(b"x" * 16), SigningKey.from_seed(bytes(31) + b"\3"))
    assert len(hand(Slots(owner.state, owner.keys, SystemClock()))) == 1


def test_a_home_that_only_reads_hands_out_what_it_found_and_nothing_else(heir):
    slots, state = heir
    found, _ = agreements_of(state, 2)
    assert hand(slots) == []
    slots.note_found(found, 7)
    assert [(gift.agreement, gift.seed) for gift in hand(slots)] == [(found, derive_slot(slots._keys.working, 7).seed)]
    slots.is_silent = True
    assert hand(slots) == []


def test_a_number_that_two_notes_were_found_under_goes_to_the_older_agreement_and_the_other_gets_a_new_one(owner):
    slots = Slots(owner.state, owner.keys, SystemClock())
    first, second = agreements_of(owner.state, 2)
    slots.note_found(first, 5)
    slots.note_found(second, 5)
    hand(slots)
    assert [slots.number_of(agreement) for agreement in (first, second)] == [5, 0]


def test_hosts_are_told_the_servers_of_now_and_those_where_hosts_were_found_lately(owner):
    slots = Slots(owner.state, owner.keys, SystemClock())
    agreements_of(owner.state, 1)
    slots.servers = lambda: ["wss://set.example"]
    slots.note_servers(["wss://b.example", "wss://set.example"])
    slots.note_servers(["wss://c.example"])
    assert hand(slots)[0].servers == ("wss://set.example", "wss://c.example", "wss://b.example")
    slots.note_servers([f"wss://{number}.example" for number in range(9)])
    assert len(hand(slots)[0].servers) == NOTE_SERVERS

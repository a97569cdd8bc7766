"""Who goes on as whom in the eyes of a home, and what goes over to an heir."""

import pytest

from agent.loops import SetClock
from backuppeer.agent.home.identity_alarms import Sort, differed_as, doubts_about, list_alarms
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.misbinding import describe, raise_alarm, see, settle
from backuppeer.agent.repute.exposing import UNCAPPED, Exposing, Lying
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.agent.repute.standing import Standing
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, LocalError, ProtocolViolation
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.limits import SUCCESSION_STEPS
from backuppeer.proof.statements import sign_statement
from backuppeer.proof.succession import Succession
from backuppeer.trust.evidence import EvidenceLog, Observation

WORDS = SigningKey.from_seed(b"w" * 32)
FOREIGN = SigningKey.from_seed(b"f" * 32)
KEYS = [SigningKey.from_seed(bytes([number]) * 32) for number in range(20)]
IDS = [PeerId(key.public) for key in KEYS]
DAY_MS = 86_400_000


def succeed(old, new, *, authority=WORDS, generation=None):
    said = Succession(
        authority=authority.public, old=IDS[old], new=IDS[new], generation=generation or new + 1, time_ms=1
    )
    return sign_statement(said, authority, KEYS[new])


class House:
    """A home with its stores."""

    def __init__(self, folder):
        self.folder, self.clock = folder, SetClock()
        self.open()

    def open(self):
        self.state, self.log = State(self.folder / "state.db"), EvidenceLog(self.folder / "evidence.db")
        self.heirs = Heirs(self.state, self.log.lines, self.clock)
        self.standing = Standing(self.state, self.log, self.clock)
        self.exposing = Exposing(self.state, self.standing, self.clock, lambda _: Lying())

    def close(self):
        self.state.close()
        self.log.close()

    def take(self, old, new, **how):
        return self.heirs.take(succeed(old, new, **how), how.get("authority", WORDS).public)

    def saw(self, who, kind, *, days_ago=0, size_bytes=2**30):
        self.log.record(Observation(IDS[who], kind, self.clock.now_ms() - days_ago * DAY_MS, size_bytes))


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.close()


def test_an_heir_is_followed_once_and_still_after_a_restart(house):
    first = house.take(0, 1)
    assert house.take(0, 1) == first
    house.close()
    house.open()
    assert house.heirs.heir_of(IDS[0]) == first
    assert house.heirs.line_of(IDS[1]) == (IDS[1], IDS[0])
    assert house.heirs.newest(IDS[0]) == IDS[1]
    assert house.heirs.heir_of(IDS[1]) is None


def test_a_foreign_authority_changes_nothing(house):
    with pytest.raises(AuthenticationFault):
        house.heirs.take(succeed(0, 1, authority=FOREIGN), WORDS.public)
    assert not house.heirs.list_all()
    house.take(0, 1)
    with pytest.raises(ProtocolViolation, match="another authority"):
        house.take(0, 2, authority=FOREIGN)
    assert not doubts_about(house.state, IDS[1]), "whoever has no say raises no alarm"


def test_nobody_becomes_his_own_heir_however_long_the_way(house):
    house.take(0, 1)
    house.take(1, 2)
    with pytest.raises(ProtocolViolation, match="circle"):
        house.take(2, 0, generation=9)


def test_more_than_eight_steps_are_not_followed(house):
    for number in range(SUCCESSION_STEPS):
        house.take(number, number + 1)
    with pytest.raises(ProtocolViolation, match="more than 8"):
        house.take(SUCCESSION_STEPS, SUCCESSION_STEPS + 1)
    assert len(house.heirs.line_of(IDS[SUCCESSION_STEPS])) == SUCCESSION_STEPS + 1


def test_of_two_heirs_the_first_stays_and_an_alarm_stands_until_a_person_had_it_out(house):
    house.take(0, 1)
    for again in range(2):
        with pytest.raises(AuthenticationFault, match="two heirs") as told:
            house.take(0, 2)
        assert told.value.exit_code == 12, again
    assert house.heirs.newest(IDS[0]) == IDS[1]
    for named in (1, 2):
        assert [alarm.sort for alarm in doubts_about(house.state, IDS[named])] == [Sort.HEIRS]
    house.close()
    house.open()
    assert doubts_about(house.state, IDS[1]), "a restart settles nothing"
    see(house.state)
    [told] = describe(house.state)
    assert "are in two hands" in told, "seen is not settled"
    settle(house.state, IDS[1], now_ms=house.clock.now_ms())
    assert not describe(house.state)
    assert not doubts_about(house.state, IDS[1])
    with pytest.raises(AuthenticationFault):
        house.take(0, 2)
    assert not doubts_about(house.state, IDS[1]), "what was had out is not told again"
    with pytest.raises(AuthenticationFault):
        house.take(0, 3)
    assert doubts_about(house.state, IDS[1]), "a third one is news"


def test_whoever_goes_on_for_one_of_two_heirs_is_one_of_them(house):
    house.take(0, 1)
    house.take(1, 4)
    with pytest.raises(AuthenticationFault, match="two heirs"):
        house.take(0, 2)
    assert [house.heirs.is_contested(IDS[number]) for number in (0, 4, 2, 3)] == [False, True, True, False]
    settle(house.state, IDS[1], now_ms=1)
    assert house.heirs.is_contested(IDS[4]), "nobody goes by that id any more"
    settle(house.state, IDS[4], now_ms=1)
    assert not house.heirs.is_contested(IDS[4])


def test_no_further_step_leads_out_of_an_alarm(house):
    house.take(0, 1)
    with pytest.raises(AuthenticationFault):
        house.take(0, 2)
    for number in (1, 2):
        with pytest.raises(AuthenticationFault, match="two heirs"):
            house.take(number, 5)
    assert house.heirs.newest(IDS[1]) == IDS[1]


def test_two_heirs_of_one_generation_contradict_each_other_too(house):
    house.take(0, 1, generation=2)
    with pytest.raises(AuthenticationFault, match="two heirs"):
        house.take(5, 6, generation=2)
    assert house.heirs.newest(IDS[5]) == IDS[5]


def test_name_block_cap_and_doubt_go_over_and_the_mark_of_a_friend_does_not(house):
    house.state.meet(IDS[0], 5, alias="alice", verified=True)
    house.state.blocks.put(IDS[0], "rude", 7)
    house.exposing.lift(IDS[0], UNCAPPED)
    raise_alarm(house.state, IDS[0], Sort.WORDS, now_ms=8)
    house.take(0, 1)
    record = house.state.peer_by_alias("alice")
    assert (record.peer, record.is_verified, record.first_seen_ms) == (IDS[1], False, 5)
    assert house.state.blocks.reason(IDS[1]) == "rude"
    assert house.exposing.lifted(IDS[1]) == UNCAPPED
    (alarm,) = list_alarms(house.state)
    assert (alarm.sort, alarm.peer, alarm.about) == (Sort.WORDS, IDS[1], IDS[0]), "told once, of whom it is up to"
    assert differed_as(house.state, IDS[1]) == IDS[0]
    (told,) = describe(house.state)
    assert f"alice, then {shorten_peer_id(IDS[0])}, differed" in told
    raise_alarm(house.state, IDS[0], Sort.MOVED, now_ms=house.clock.now_ms())
    assert list_alarms(house.state) == [alarm], "who is shut out may come from wherever it likes"
    assert house.heirs.was_friend(IDS[1]) == IDS[0]
    house.state.befriend(IDS[1], 9)
    assert house.heirs.was_friend(IDS[1]) is None


def test_an_heir_keeps_the_name_and_the_cap_it_has(house):
    house.state.meet(IDS[0], 5, alias="alice")
    house.state.meet(IDS[1], 6, alias="alice's new machine")
    house.exposing.lift(IDS[0], UNCAPPED)
    house.exposing.lift(IDS[1], 10)
    house.take(0, 1)
    assert house.state.peer_by_alias("alice").peer == IDS[0]
    assert house.state.peer_by_alias("alice's new machine").peer == IDS[1]
    assert house.exposing.lifted(IDS[1]) == 10


def test_a_disk_that_refuses_in_the_middle_leaves_nothing_half_done(house, monkeypatch):
    house.state.meet(IDS[0], 5, alias="alice")

    def refuse(*_):
        raise LocalError("the disk is full")

    monkeypatch.setattr(house.state.blocks, "reason", refuse)
    with pytest.raises(LocalError):
        house.take(0, 1)
    monkeypatch.undo()
    assert house.state.peer_by_alias("alice").peer == IDS[0]
    assert not house.heirs.list_all()
    house.take(0, 1)
    assert house.state.peer_by_alias("alice").peer == IDS[1]


def test_whoever_is_to_know_is_told_once_it_is_durable(house):
    told = []
    house.heirs.on_followed = lambda old, new: told.append((old, new, house.state.successions.find(old) is not None))
    house.take(0, 1)
    house.take(0, 1)
    assert told == [(IDS[0], IDS[1], True)]

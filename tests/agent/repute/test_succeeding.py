"""How a home thinks of an heir and of the identity before it: bars, caps, exposure, doubts."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agent.repute.test_heirs import DAY_MS, IDS, WORDS, House, succeed
from backuppeer.agent.commands.capping import set_cap
from backuppeer.agent.home.identity_alarms import Sort
from backuppeer.agent.peers.misbinding import raise_alarm, refuse_doubted, settle
from backuppeer.agent.repute.exposing import Lying
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault
from backuppeer.ids import format_peer_id, shorten_peer_id
from backuppeer.limits import GIB
from backuppeer.trust.conduct import Bar, find_word
from backuppeer.trust.evidence import Kind

OLD, NEW = IDS[0], IDS[1]


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.close()


def test_an_heir_has_the_score_that_its_history_gives_without_the_mark_of_a_friend(house):
    house.state.meet(OLD, 5, alias="alice", verified=True)
    for day in range(60):
        house.saw(0, Kind.AUDITED, days_ago=day)
    kept = house.standing.trust(OLD)[0]
    house.take(0, 1)
    heir, _ = house.standing.trust(NEW)
    assert 0.5 < heir < kept
    assert not house.standing.is_friend(NEW)
    assert not house.standing.is_friend(OLD), "the mark is no use to whoever has the old key"
    house.state.befriend(NEW, 9)
    assert house.standing.trust(NEW)[0] == pytest.approx(kept)


@pytest.mark.parametrize(("kind", "bar"), [(Kind.MISBEHAVED, Bar.LIED), (Kind.LOST, Bar.LOST)])
def test_whoever_is_barred_is_barred_under_its_next_name_and_forgiven_under_it(house, kind, bar):
    house.saw(0, kind, days_ago=2)
    house.take(0, 1)
    assert house.standing.bar(NEW) is bar
    assert house.standing.forgive(NEW)
    assert house.standing.bar(NEW) is None


def test_nothing_new_goes_to_an_identity_that_goes_on_as_another(house):
    house.take(0, 1)
    assert house.standing.bar(OLD) is Bar.SUCCEEDED
    with pytest.raises(AuthenticationFault, match="under another id") as told:
        refuse_doubted(house.state, OLD, "nothing new")
    assert format_peer_id(NEW) in told.value.hint
    caps = house.standing.caps(OLD)
    assert caps[0].startswith("it goes on as bp1")
    assert find_word("unproven", caps) == "succeeded"
    assert f"`backup-peer connect {shorten_peer_id(NEW)}`" in house.standing.advice(OLD, shorten_peer_id(OLD))
    house.state.call(NEW, "old alice", 1)
    assert "`backup-peer connect 'old alice'`" in house.standing.advice(OLD, shorten_peer_id(OLD))
    assert house.standing.caps(NEW) == []


def test_two_heirs_get_nothing_new_until_a_person_had_it_out(house):
    house.take(0, 1)
    with pytest.raises(AuthenticationFault):
        house.take(0, 2)
    for heir in (1, 2):
        assert house.standing.bar(IDS[heir]) is Bar.DOUBTED
        assert find_word("new", house.standing.caps(IDS[heir])) == "in doubt"
        assert "backup-peer status" in house.standing.advice(IDS[heir], "alice")
    assert house.standing.forgive(NEW) == [], "that is no fault that could be forgiven"
    assert house.standing.bar(NEW) is Bar.DOUBTED
    settle(house.state, NEW, now_ms=1)
    assert house.standing.bar(NEW) is None


def test_words_that_differed_bar_the_heir_until_they_were_compared_with_it(house):
    raise_alarm(house.state, OLD, Sort.WORDS, now_ms=8)
    house.take(0, 1)
    assert house.standing.bar(NEW) is Bar.DOUBTED
    settle(house.state, NEW, now_ms=9)
    assert house.standing.bar(NEW) is None


def test_an_heir_has_the_room_that_its_history_gives_less_what_lies_under_the_old_name(house):
    house.exposing._lying_with = lambda peer: Lying(3 * GIB if peer == OLD else GIB, has_head=peer == OLD)
    house.saw(0, Kind.AUDITED, size_bytes=2 * GIB)
    house.take(0, 1)
    assert house.exposing.verified(NEW) == 2 * GIB
    assert house.exposing.cap(NEW) == 8 * GIB
    assert house.exposing.room(NEW) == 4 * GIB
    assert house.exposing.room(OLD) is not None


def test_a_cap_that_a_person_lifted_holds_for_the_heir_after_a_restart(house):
    set_cap(house.exposing, OLD, "none", name="alice")
    house.take(0, 1)
    house.close()
    house.open()
    assert house.exposing.cap(NEW) is None


def test_what_a_host_promised_and_keeps_under_its_old_name_counts_for_the_heir(house):
    house.standing.promised = lambda peer: 0.9 if peer == OLD else 0.0
    house.standing.held_bytes = lambda peer: 5 if peer == OLD else 0
    house.take(0, 1)
    assert (house.standing.promise(NEW), house.standing.measure_held(NEW)) == (0.9, 5)
    now_ms = house.clock.now_ms()
    for day in range(20):
        house.log.contacts.touch(OLD, now_ms - day * DAY_MS, is_up=day % 2 == 0)
    assert house.standing.evidence(NEW).availability.promised == 0.9


@given(
    authority=st.binary(min_size=32, max_size=32),
    named=st.lists(st.tuples(st.integers(0, 3), st.integers(4, 7)), min_size=1, max_size=4),
    seen=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(list(Kind)), st.integers(0, 200)), max_size=12),
)
@settings(max_examples=25, deadline=None)
def test_whatever_a_foreign_authority_signs_changes_nothing(authority, named, seen) -> None:
    foreign = SigningKey.from_seed(authority)
    assume(foreign.public != WORDS.public)
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder))
        for who, kind, days_ago in seen:
            house.saw(who, kind, days_ago=days_ago)
        before = [(house.standing.evidence(one), house.standing.bar(one), house.exposing.cap(one)) for one in IDS[:8]]
        for old, new in named:
            with pytest.raises(AuthenticationFault):
                house.heirs.take(succeed(old, new, authority=foreign), WORDS.public)
        after = [(house.standing.evidence(one), house.standing.bar(one), house.exposing.cap(one)) for one in IDS[:8]]
        assert after == before
        assert house.heirs.list_all() == []
        house.close()

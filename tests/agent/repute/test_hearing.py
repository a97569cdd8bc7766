"""What reaches a home by way of others: bounded whatever a crowd signs, told by its ways."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.loops import SetClock
from agent.repute.shelved import START, peer, receipt, vouch
from backuppeer.agent.repute.hearing import Hearing, Path, PathKind
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep
from backuppeer.ids import PeerId
from backuppeer.proof.receipts import MONTH_MS
from backuppeer.trust.hearsay import Heard, Word, hear
from backuppeer.trust.receipts import word_of, words_of

VIEWER, ALICE, BOB, CAROL = 1, 2, 3, 4
NOW = START + 12 * MONTH_MS


class Room:
    """A home's shelf, and what it hears. own: hosts with whom it has stored for long."""

    def __init__(self, path, *own: int) -> None:
        self.shelf = Shelf(path)
        self.clock = SetClock()
        self.clock.ms = NOW
        self.hearing = Hearing(self.shelf, self.clock, peer(VIEWER))
        self.own = [Word(peer(VIEWER), peer(n), 10**6, 31.0) for n in own]
        self.hearing.own_words = lambda: self.own


@pytest.fixture
def room(tmp_path):
    made = Room(tmp_path / "receipts.db", ALICE)
    yield made
    made.shelf.close()


def test_a_host_of_a_host_is_heard_of_and_by_which_way(room):
    room.shelf.take(receipt(ALICE, BOB, months=12), peer(ALICE))
    room.shelf.take(receipt(BOB, CAROL, months=12), peer(ALICE))
    ways = room.hearing.paths(peer(CAROL))
    assert [way.peers for way in ways] == [tuple(map(peer, (VIEWER, ALICE, BOB, CAROL)))]
    assert ways == [Path(ways[0].peers, PathKind.RECEIPT, pytest.approx(room.hearing.heard(peer(CAROL)).alpha))]
    assert room.hearing.heard(peer(BOB)).alpha > room.hearing.heard(peer(CAROL)).alpha > 0
    assert room.hearing.heard(peer(9)) == Heard()


def test_claims_vouches_and_one_sided_words_are_told_as_what_they_are(room):
    room.shelf.take(receipt(ALICE, BOB, months=12, kept=False), peer(ALICE))
    room.shelf.take_vouch(*vouch(ALICE, CAROL), peer(ALICE))
    room.shelf.take(receipt(ALICE, 5, months=12, one_sided=True), peer(ALICE))
    kinds = {number: [way.kind for way in room.hearing.paths(peer(number))] for number in (BOB, CAROL, 5)}
    assert kinds == {BOB: [PathKind.CLAIM], CAROL: [PathKind.VOUCH], 5: [PathKind.ONE_SIDED]}
    assert room.hearing.heard(peer(BOB)).beta > 0 == room.hearing.heard(peer(BOB)).alpha


def test_who_is_known_by_one_alone_hangs_on_that_one(room):
    room.own.append(Word(peer(VIEWER), peer(BOB), 10**6, 31.0))
    room.shelf.take(receipt(ALICE, CAROL, months=12), peer(ALICE))
    assert room.hearing.sole_voucher(peer(CAROL)) == peer(ALICE)
    room.shelf.take_vouch(*vouch(BOB, CAROL), peer(ALICE))
    assert room.hearing.sole_voucher(peer(CAROL)) is None
    assert room.hearing.sole_voucher(peer(9)) is None


def test_what_is_new_is_heard_at_once_and_what_grows_old_is_heard_no_more(room):
    assert room.hearing.heard(peer(BOB)) == Heard()
    room.shelf.take(receipt(ALICE, BOB, months=12), peer(ALICE))
    assert room.hearing.heard(peer(BOB)).alpha > 0
    room.clock.ms = NOW + 3 * MONTH_MS
    assert room.hearing.heard(peer(BOB)) == Heard()


def test_own_words_are_read_anew_within_a_minute_or_at_once_where_something_happened(room):
    room.shelf.take(receipt(ALICE, BOB, months=12), peer(ALICE))
    room.shelf.take(receipt(CAROL, 5, months=12), peer(ALICE))
    assert room.hearing.heard(peer(BOB)).alpha > 0
    asked = []

    def own_words():
        asked.append(room.clock.ms)
        return [Word(peer(VIEWER), peer(CAROL), 10**6, 31.0)]

    room.hearing.own_words = own_words
    room.clock.ms += 60_000
    assert room.hearing.heard(peer(BOB)).alpha > 0
    assert asked == [], "a sum over the ledger: not each time"
    room.clock.ms += 1
    assert room.hearing.heard(peer(BOB)) == Heard()
    assert room.hearing.heard(peer(5)).alpha > 0
    assert len(asked) == 1
    room.hearing.own_words = lambda: room.own
    room.hearing.touch()
    assert room.hearing.heard(peer(5)) == Heard()


def test_own_pairs_are_taken_from_the_ledger_not_from_receipts(room):
    room.own.clear()
    room.shelf.keep(receipt(VIEWER, ALICE, months=12), Keep.OWNER)
    room.shelf.take(receipt(ALICE, BOB, months=12), peer(ALICE))
    room.hearing.touch()
    assert room.hearing.heard(peer(BOB)) == Heard()


def test_receipts_that_contradict_each_other_say_nothing_to_this_home(room):
    for size in (1, 31 * 2**30):
        room.shelf.take(receipt(ALICE, BOB, months=12, size_bytes=size), peer(ALICE))
    assert room.hearing.heard(peer(BOB)) == Heard()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 4), st.integers(2, 7))
def test_whatever_a_crowd_signs_among_itself_it_gets_no_more_than_three_for_each_pair_that_leads_to_it(
    tmp_path_factory, seed, edges, size
):
    source = random.Random(seed)
    room = Room(tmp_path_factory.mktemp("room") / "receipts.db", ALICE, BOB)
    crowd = list(range(100, 100 + size))
    honest = [ALICE, BOB, CAROL]
    # The viewer itself stores with some of the crowd, and so do honest peers: the pairs that lead into it.
    led = {(source.choice([VIEWER, *honest]), source.choice(crowd)) for _ in range(edges)}
    room.own += [Word(peer(VIEWER), peer(s), 10**6, 10**6) for v, s in led if v == VIEWER]
    shown = [receipt(a, s, months=12) for a, s in sorted(led) if a != VIEWER] + [receipt(ALICE, CAROL, months=12)]
    pairs = [(a, b) for a in crowd for b in [*crowd, *honest, VIEWER] if a != b and source.random() < 0.7]
    shown += [receipt(a, b, months=source.choice([1, 12]), one_sided=b in honest or b == VIEWER) for a, b in pairs]
    shown += [receipt(a, b, months=12, kept=False, since_ms=START) for a, b in pairs if source.random() < 0.2]
    source.shuffle(shown)
    for one in shown:
        room.shelf.take(one, PeerId(peer(source.choice(crowd))))
    for at, voucher in enumerate(crowd):
        room.shelf.take_vouch(*vouch(voucher, crowd[at - 1]), peer(100))
    gained = sum(heard.alpha + heard.beta for heard in map(room.hearing.heard, map(peer, crowd)))
    room.shelf.close()
    assert gained <= 3 * len(led) + 1e-9


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 12), st.booleans()), max_size=12))
def test_what_is_heard_bit_by_bit_is_what_is_heard_at_once(tmp_path_factory, shown):
    path = tmp_path_factory.mktemp("room") / "receipts.db"
    room = Room(path, ALICE, BOB)
    for owner, host, months, is_vouch in shown:
        if owner != host:
            if is_vouch:
                room.shelf.take_vouch(*vouch(owner, host, at=NOW - months), peer(9))
            else:
                room.shelf.take(receipt(owner, host, months=months), peer(9))
        room.hearing.heard(peer(CAROL))
    said = [*words_of(room.shelf.months(), NOW), *filter(None, (word_of(one, NOW) for one, _ in room.shelf.vouches()))]
    all_at_once = hear(peer(VIEWER), [*(word for word in said if word.owner != peer(VIEWER)), *room.own])
    anew = Hearing(room.shelf, room.clock, peer(VIEWER))
    anew.own_words = room.hearing.own_words
    for host in map(peer, range(7)):
        assert room.hearing.heard(host).alpha == pytest.approx(anew.heard(host).alpha)
        assert room.hearing.heard(host).alpha == pytest.approx(all_at_once.get(host, Heard()).alpha)
        assert {way.peers for way in room.hearing.paths(host)} == {way.peers for way in anew.paths(host)}
    room.shelf.close()


def follow(room, old, new):
    room.hearing.lines.follow(peer(old), peer(new))


def test_what_is_said_of_an_identity_or_by_it_counts_for_its_heir(room):
    room.shelf.take(receipt(ALICE, BOB, months=12), peer(ALICE))
    room.shelf.take(receipt(BOB, CAROL, months=12), peer(ALICE))
    room.shelf.take(receipt(ALICE, 5, months=12, kept=False), peer(ALICE))
    before = {number: room.hearing.heard(peer(number)) for number in (BOB, CAROL, 5)}
    for old, new in ((ALICE, 12), (BOB, 13), (5, 15)):
        follow(room, old, new)
    assert room.hearing.heard(peer(13)) == before[BOB], "the words came before anybody went on as another"
    assert room.hearing.heard(peer(CAROL)) == before[CAROL]
    assert room.hearing.heard(peer(15)) == before[5], "bad words, too"
    assert room.hearing.heard(peer(BOB)) == Heard(), "and the old name has nothing of it"
    assert [way.peers[1:] for way in room.hearing.paths(peer(13))] == [(peer(12), peer(13))]
    room.shelf.take(receipt(BOB, 6, months=12), peer(ALICE))
    assert room.hearing.heard(peer(6)).alpha > 0, "what comes in under the old name later is his word, too"


def test_a_row_of_receipts_that_goes_on_under_another_name_counts_once(room):
    room.shelf.take(receipt(ALICE, BOB, months=11), peer(ALICE))
    room.shelf.take(receipt(ALICE, BOB, months=12), peer(ALICE))
    whole = room.hearing.heard(peer(BOB))
    agreement = receipt(ALICE, BOB).said.agreement
    room.shelf.take(receipt(ALICE, 13, months=12, agreement=agreement), peer(ALICE))
    follow(room, BOB, 13)
    assert room.hearing.heard(peer(13)).alpha == pytest.approx(whole.alpha)


def test_a_vouch_is_for_the_identity_whose_words_were_compared_and_for_no_heir(room):
    room.shelf.take_vouch(*vouch(ALICE, BOB), peer(ALICE))
    assert room.hearing.heard(peer(BOB)).alpha > 0
    follow(room, BOB, 13)
    assert room.hearing.heard(peer(13)) == Heard()


def test_words_about_the_viewer_under_its_old_name_are_about_the_viewer(room):
    old = 20
    room.shelf.take(receipt(ALICE, old, months=12), peer(ALICE))
    room.shelf.take(receipt(old, CAROL, months=12), peer(ALICE))
    assert room.hearing.heard(peer(CAROL)).alpha > 0
    follow(room, old, VIEWER)
    assert room.hearing.heard(peer(CAROL)) == Heard(), "of its own pairs its own ledger tells"

"""How much may lie with a stranger, to the byte, however many send at once."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.viewers import Viewer
from backuppeer.agent.repute.exposing import UNCAPPED, Exposing, Lying
from backuppeer.errors import ExposedError, LocalError
from backuppeer.ids import PeerId
from backuppeer.limits import GIB
from backuppeer.trust.evidence import Kind

ALICE, CAROL = PeerId(b"a" * 32), PeerId(b"c" * 32)
DAY_MS = 86_400_000


class Books(Viewer):
    """A home whose ledger is two numbers."""

    def __init__(self, folder):
        super().__init__(folder)
        self.held = {ALICE: 0, CAROL: 0}
        self.has_head, self.looks = True, []
        self.standing.held_bytes = lambda peer: self.held[peer]
        self.exposing = Exposing(self.state, self.standing, self.clock, self.look)

    def look(self, peer):
        self.looks.append(peer)
        return Lying(self.held[peer], self.has_head)

    def keep(self, size_bytes):
        self.held[ALICE] += size_bytes


@pytest.fixture
def books(tmp_path):
    made = Books(tmp_path)
    yield made
    made.close()


def test_a_stranger_may_have_one_gib_and_then_four_times_what_audits_saw_within_a_month(books):
    assert books.exposing.cap(ALICE) == GIB
    books.saw(ALICE, Kind.AUDITED, size_bytes=5 * GIB, days_ago=31)
    books.saw(ALICE, Kind.STORED, size_bytes=50 * GIB)
    assert books.exposing.cap(ALICE) == GIB, "what was sent, or seen long ago, proves nothing"
    books.saw(ALICE, Kind.AUDITED, size_bytes=GIB, days_ago=2)
    books.saw(ALICE, Kind.AUDITED, size_bytes=GIB // 2)
    assert books.exposing.cap(ALICE) == 4 * GIB
    assert books.exposing.cap(CAROL) == GIB


def test_a_friend_has_no_cap_and_a_person_lifts_that_of_one_host_alone(books):
    books.exposing.lift(ALICE, 10 * GIB)
    assert (books.exposing.cap(ALICE), books.exposing.cap(CAROL)) == (10 * GIB, GIB)
    books.exposing.lift(ALICE, UNCAPPED)
    assert books.exposing.cap(ALICE) is None
    again = Exposing(books.state, books.standing, books.clock, books.look)
    assert again.lifted(ALICE) == UNCAPPED, "it survives a restart"
    again.lift(ALICE, None)
    assert again.cap(ALICE) == GIB
    books.state.meet(ALICE, 1, verified=True)
    assert again.cap(ALICE) is None


def test_at_the_cap_nothing_more_goes_and_both_ways_out_are_named(books):
    books.held[ALICE] = GIB - 10
    books.exposing.reserve(ALICE, 10, name="my alice").release()
    room = books.exposing.reserve(ALICE, 6, name="my alice")
    with pytest.raises(
        ExposedError,
        match=r"my alice is a stranger to you: 1\.07 GB of yours lie there or are on the way, of 1\.07 GB at most",
    ) as caught:
        books.exposing.reserve(ALICE, 5, name="my alice")
    for way in ("audit 'my alice' --now", "peers verify 'my alice'", "peers set 'my alice' --cap"):
        assert way in caught.value.hint
    room.keep(lambda: books.keep(6))
    room.release()
    assert books.exposing.room(ALICE) == 4
    assert books.exposing.find_refusal(ALICE, 5, name="alice") is not None
    assert books.exposing.find_refusal(ALICE, 4, name="alice") is None


def test_an_audit_is_advised_only_where_it_can_be_made_and_lets_more_lie_there(books):
    books.held[ALICE] = GIB
    books.saw(ALICE, Kind.AUDITED, size_bytes=GIB // 4)
    hint = books.exposing.find_refusal(ALICE, 5, name="alice").hint
    assert "audit alice --now" in hint
    assert "up to 4.29 GB may lie there then" in hint
    assert "now 268 MB" in hint, "how much was seen, and how much may follow"
    books.has_head = False
    hint = books.exposing.find_refusal(ALICE, 5, name="alice").hint
    assert "audit alice" not in hint, "nothing finished lies there: an audit has nothing to ask upon"
    assert "back up less than 1.07 GB first" in hint
    books.has_head, books.held[ALICE] = True, GIB // 8
    hint = books.exposing.find_refusal(ALICE, GIB, name="alice").hint
    assert "audit" not in hint, "four times an eighth is no more than the first GiB"
    assert not books.exposing.may_grow(ALICE)


def test_packs_in_a_row_are_weighed_by_one_look_and_an_audit_counts_at_once_where_it_lets_more_go(books):
    for _ in range(50):
        room = books.exposing.reserve(ALICE, GIB // 50, name="alice")
        room.keep(lambda: books.keep(GIB // 50))
    assert len(books.looks) == 1
    with pytest.raises(ExposedError):
        books.exposing.reserve(ALICE, GIB, name="alice")
    books.saw(ALICE, Kind.AUDITED, size_bytes=GIB)
    books.exposing.reserve(ALICE, GIB, name="alice").release()


def test_what_can_not_be_written_down_gives_its_room_back(books):
    room = books.exposing.reserve(ALICE, GIB, name="alice")

    def fail():
        raise LocalError("the disk is full")

    with pytest.raises(LocalError):
        room.keep(fail)
    assert books.exposing.room(ALICE) == GIB


def test_what_lies_there_above_the_cap_is_let_be_and_a_first_backup_is_told(books):
    assert "1.07 GB of yours go there at most" in books.exposing.say_first(ALICE, "alice", 10 * GIB)
    assert books.exposing.say_first(ALICE, "alice", GIB) == "", "all of it may go there"
    books.held[ALICE] = 3 * GIB
    assert books.exposing.room(ALICE) == 0
    assert books.exposing.say_first(ALICE, "alice", 10 * GIB) == ""


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(1, GIB // 3), st.booleans()), min_size=2, max_size=24), st.integers(2, 6))
def test_whatever_is_sent_at_once_and_fails_on_the_way_never_is_more_there_than_may_be(tmp_path_factory, packs, ways):
    books = Books(tmp_path_factory.mktemp("books"))
    seen, start = [], threading.Barrier(ways)

    def send(mine):
        start.wait()
        for size_bytes, arrives in mine:
            try:
                room = books.exposing.reserve(ALICE, size_bytes, name="alice")
            except ExposedError:
                continue
            if arrives:
                room.keep(lambda size=size_bytes: books.keep(size))
                seen.append(books.held[ALICE])
            room.release()

    threads = [threading.Thread(target=send, args=(packs[number::ways],)) for number in range(ways)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(held <= GIB for held in seen)
    kept, refused = books.held[ALICE], [size for size, arrives in packs if arrives]
    assert books.exposing.room(ALICE) == GIB - kept, "nothing stays reserved"
    if sum(size for size, _ in packs) <= GIB:
        assert kept == sum(refused), "and nobody is refused what fits"
    books.close()

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer import limits
from backuppeer.errors import DamagedStateError
from backuppeer.signaling.health import Tally
from backuppeer.signaling.listing import open_listing
from backuppeer.signaling.merge import Merger, Seen, SeqMemory
from signaling.kit import NOW_MS, Host

HOST = Host()
OTHER = Host()
OLD = open_listing(HOST.signed(NOW_MS), NOW_MS)
NEW = open_listing(HOST.signed(NOW_MS + 1, availability=900), NOW_MS)
TWIN = open_listing(HOST.signed(NOW_MS + 1, availability=500), NOW_MS)
TOMBSTONE = open_listing(HOST.tombstone(NOW_MS + 2), NOW_MS)
FOREIGN = open_listing(OTHER.signed(), NOW_MS)


def test_the_highest_number_wins_in_any_order():
    for order in ([OLD, NEW], [NEW, OLD]):
        merger = Merger(SeqMemory())
        for row in order:
            merger.add(row, "a")
        assert [row.signed for row in merger.listings()] == [NEW.signed]


def test_one_row_per_peer_names_all_its_servers():
    merger = Merger(SeqMemory())
    assert merger.add(NEW, "a") is not None
    assert merger.add(NEW, "b") is None
    assert merger.add(NEW, "a") is None
    merger.add(FOREIGN, "b")
    assert {(row.peer, row.servers) for row in merger.listings()} == {(HOST.peer, ("a", "b")), (OTHER.peer, ("b",))}


def test_servers_of_an_older_row_are_not_taken_over():
    merger = Merger(SeqMemory())
    merger.add(OLD, "a")
    row = merger.add(NEW, "b")
    assert row is not None
    assert row.servers == ("b",)


def test_what_was_seen_once_cannot_be_rolled_back_in_a_later_browse():
    memory = SeqMemory()
    Merger(memory).add(NEW, "a")
    later = Merger(SeqMemory.import_bytes(memory.export_bytes()))
    assert later.add(OLD, "liar") is None
    assert later.listings() == []


def test_a_tombstone_takes_the_row_back_and_the_old_row_stays_away():
    memory = SeqMemory()
    merger = Merger(memory)
    merger.add(NEW, "a")
    assert merger.add(TOMBSTONE, "b") is not None
    assert merger.listings() == []
    merger.add(NEW, "a")
    assert merger.listings() == []


def test_equivocation_is_flagged_and_every_viewer_settles_on_the_same_row():
    kept = set()
    for order in ([NEW, TWIN], [TWIN, NEW], [NEW, TWIN, NEW, TWIN]):
        merger = Merger(SeqMemory())
        for number, row in enumerate(order):
            merger.add(row, str(number))
        (row,) = merger.listings()
        assert row.is_equivocating
        kept.add(row.signed)
    assert len(kept) == 1


def test_equivocation_is_remembered_over_browses():
    memory = SeqMemory()
    Merger(memory).add(NEW, "a")
    merger = Merger(memory)
    row = merger.add(TWIN, "b")
    assert row is not None
    assert row.is_equivocating
    after = Merger(SeqMemory.import_bytes(memory.export_bytes())).add(
        open_listing(HOST.signed(NOW_MS + 9), NOW_MS), "a"
    )
    assert after is not None
    assert after.is_equivocating


def test_the_same_listing_from_two_servers_is_no_equivocation():
    merger = Merger(SeqMemory())
    merger.add(NEW, "a")
    merger.add(NEW, "b")
    assert not merger.listings()[0].is_equivocating


def test_a_full_memory_forgets_the_peer_unseen_for_longest():
    memory = SeqMemory(capacity=1)
    Merger(memory).add(NEW, "a")
    Merger(memory).add(FOREIGN, "a")
    assert memory.get(HOST.peer) is None
    assert memory.get(OTHER.peer) is not None


def test_a_memory_holds_only_so_many_peers():
    rows = (number.to_bytes(32, "big") + bytes(41) for number in range(limits.SEQ_MEMORY_PEERS + 1))
    read = SeqMemory.import_bytes(b"BPSEQS\0\x01" + b"".join(rows))
    fresh = SeqMemory()
    fresh._seen = read._seen.copy()
    for memory in (read, fresh):
        memory.put(HOST.peer, Seen(1, bytes(32), is_equivocating=False))
        assert len(memory._seen) == limits.SEQ_MEMORY_PEERS
        assert memory.get(HOST.peer) is not None


@pytest.mark.parametrize("data", [b"", b"BPSEQS\0\x02", b"BPSEQS\0\x01x"])
def test_a_damaged_memory_is_named(data):
    with pytest.raises(DamagedStateError):
        SeqMemory.import_bytes(data)


@given(st.permutations([OLD, NEW, TWIN, FOREIGN]))
def test_merging_does_not_depend_on_the_order_of_arrival(rows):
    merger = Merger(SeqMemory())
    for row in rows:
        merger.add(row, "a")
    expected = Merger(SeqMemory())
    for row in [OLD, NEW, TWIN, FOREIGN]:
        expected.add(row, "a")
    assert {(r.signed, r.is_equivocating) for r in merger.listings()} == {
        (r.signed, r.is_equivocating) for r in expected.listings()
    }


@pytest.mark.parametrize("is_turned", [False, True])
def test_each_server_answers_for_what_it_handed_out_whoever_was_first(is_turned):
    merger, handed = Merger(SeqMemory()), [(NEW, "a"), (OLD, "b"), (TWIN, "c"), (FOREIGN, "b")]
    for row, server in reversed(handed) if is_turned else handed:
        merger.add(row, server)
    a, b, c, d = (merger.fill(server, Tally()) for server in "abcd")
    assert (a.newest, a.outdated, a.forked) == ({HOST.peer}, set(), {HOST.peer})
    assert (b.newest, b.outdated, b.forked) == ({OTHER.peer}, {HOST.peer}, set())
    assert c.forked == {HOST.peer}
    assert d == Tally()

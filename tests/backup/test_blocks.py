"""Blocks that were read once are not asked for again, and those of two copies are never mixed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.backup.blocks import Blocks
from backuppeer.errors import IntegrityFault
from backuppeer.ids import LogicalId
from backuppeer.limits import BLOCK_BYTES
from noise import noise

PACK = LogicalId(bytes(16))
SIZE = 5 * BLOCK_BYTES + 1000
RANGE = st.integers(0, SIZE - 1).flatmap(lambda at: st.tuples(st.just(at), st.integers(1, SIZE - at)))


class Host:
    """Has copies of one pack; each fetch is answered from the copy that `now` names."""

    def __init__(self, *copies):
        self.copies, self.now, self.fetches = copies or (noise(1, SIZE),), 0, []

    def fetch(self, pack, ranges):
        self.fetches.append(list(ranges))
        data = self.copies[self.now]
        if any(offset + length > len(data) for offset, length in ranges):
            raise IntegrityFault("outside")
        return data[:64], [memoryview(data)[offset : offset + length] for offset, length in ranges]


def blocks_of(host, cap_bytes=8 * BLOCK_BYTES):
    return Blocks(host, lambda _: SIZE, cap_bytes)


@given(st.lists(st.lists(RANGE, min_size=1, max_size=3), min_size=1, max_size=6), st.sampled_from([1, 3, 8]))
def test_any_ranges_come_as_they_are_and_no_block_is_asked_for_twice_while_there_is_room(reads, room):
    host = Host()
    blocks = blocks_of(host, room * BLOCK_BYTES)
    for ranges in reads:
        header, pieces = blocks.fetch(PACK, ranges)
        assert header == host.copies[0][:64]
        assert [bytes(piece) for piece in pieces] == [host.copies[0][at : at + size] for at, size in ranges]
    asked = [span for fetch in host.fetches for span in fetch]
    assert all(offset % BLOCK_BYTES == 0 for offset, _ in asked)
    if room == 8:
        assert sum(length for _, length in asked) <= SIZE


def test_neighbours_that_were_fetched_for_others_are_at_hand():
    host = Host()
    blocks = blocks_of(host)
    for offset in range(0, BLOCK_BYTES, 4096):
        blocks.fetch(PACK, [(offset, 100)])
    assert host.fetches == [[(0, BLOCK_BYTES)]]
    blocks.fetch(PACK, [(100, 10), (3 * BLOCK_BYTES - 5, 10), (SIZE - 1, 1)])
    assert host.fetches[1:] == [[(2 * BLOCK_BYTES, 2 * BLOCK_BYTES), (5 * BLOCK_BYTES, 1000)]]


def test_when_another_copy_answers_all_is_taken_from_that_one():
    host = Host(*(noise(seed, SIZE) for seed in (1, 2)))
    blocks = blocks_of(host)
    blocks.fetch(PACK, [(0, 10)])
    host.now = 1
    header, (first, second) = blocks.fetch(PACK, [(0, 10), (BLOCK_BYTES, 10)])
    assert (header, bytes(first), bytes(second)) == (
        host.copies[1][:64],
        host.copies[1][:10],
        host.copies[1][BLOCK_BYTES : BLOCK_BYTES + 10],
    )


def test_a_range_outside_of_the_pack_is_the_source_to_refuse():
    with pytest.raises(IntegrityFault, match="outside"):
        blocks_of(Host()).fetch(PACK, [(SIZE - 1, 2)])

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.agent.owner.spans import RecentSpans, Span, plan_blocks
from backuppeer.errors import IntegrityFault
from backuppeer.ids import StoredId
from backuppeer.limits import BLOCK_BYTES, LEAF_BYTES, PACK_TARGET_BYTES


def test_recent_spans_hold_what_was_used_last_up_to_their_cap():
    spans = RecentSpans(3000)
    ids = [StoredId(bytes([n]) * 32) for n in range(5)]
    for stored in ids[:3]:
        spans.put(stored, [Span(0, memoryview(bytes(1000)))])
    assert spans.get(ids[0])
    spans.put(ids[3], [Span(0, memoryview(bytes(1000)))])
    assert not spans.get(ids[1]), "the one used longest ago"
    assert all(spans.get(ids[n]) for n in (0, 2, 3))
    spans.put(ids[0], [Span(0, memoryview(bytes(500)))])
    assert spans._held_bytes == 2500, "replaced, not added"
    spans.put(ids[4], [Span(0, memoryview(bytes(5000)))])
    assert spans._held_bytes == 0, "larger than the cap: not held, and the count is right"


SIZES = st.integers(1, PACK_TARGET_BYTES)


@given(SIZES, st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_planned_blocks_cover_every_range_in_whole_blocks_once_and_in_order(pack_bytes, parts):
    ranges = []
    for a, b in parts:
        offset = int(a * pack_bytes)
        ranges.append((offset, int(b * (pack_bytes - offset))))
    plan = plan_blocks(ranges, pack_bytes)
    leaves = {leaf for first, count in plan for leaf in range(first, first + count)}
    assert len(leaves) == sum(count for _, count in plan)
    for offset, length in ranges:
        if length:
            assert set(range(offset // LEAF_BYTES, (offset + length - 1) // LEAF_BYTES + 1)) <= leaves
    total = -(-pack_bytes // LEAF_BYTES)
    ends = [first + count for first, count in plan]
    assert all(first * LEAF_BYTES % BLOCK_BYTES == 0 and count > 0 for first, count in plan)
    assert all(end * LEAF_BYTES % BLOCK_BYTES == 0 or end == total for end in ends)
    assert all(end < first for end, (first, _) in zip(ends, plan[1:], strict=False)), "neighbours are joined"


@given(SIZES, st.integers(-3, 2 * PACK_TARGET_BYTES), st.integers(-3, 2 * PACK_TARGET_BYTES))
def test_a_range_outside_of_its_pack_is_never_asked_for(pack_bytes, offset, length):
    if offset >= 0 and length >= 0 and offset + length <= pack_bytes:
        plan_blocks([(offset, length)], pack_bytes)
    else:
        with pytest.raises(IntegrityFault):
            plan_blocks([(offset, length)], pack_bytes)


@pytest.mark.parametrize("pack_bytes", [BLOCK_BYTES, 2 * BLOCK_BYTES, BLOCK_BYTES + LEAF_BYTES])
def test_an_empty_range_at_the_end_of_a_pack_plans_no_read_of_nothing(pack_bytes):
    assert all(count > 0 for _, count in plan_blocks([(pack_bytes, 0)], pack_bytes))

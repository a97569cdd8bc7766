"""Plans of a prune: whatever the packs and limits, nothing needed goes, and limits are kept."""

from hypothesis import given
from hypothesis import strategies as st

from backuppeer.backup.prune_plan import PackUse, PruneLimits, plan_prune
from backuppeer.backup.pruning import plan_packs
from backuppeer.ids import LogicalId
from backuppeer.limits import KIB, MIB, PACK_MIN_BYTES, SMALL_PACK_BYTES

NONE = PruneLimits(max_unused_bytes=0)


def use(number: int, live: int, dead: int, *, size: int = 0) -> PackUse:
    return PackUse(LogicalId(number.to_bytes(16, "big")), size or max(PACK_MIN_BYTES, live + dead), live + dead, live)


parts = st.integers(0, 8 * MIB)
packs_of = st.lists(st.tuples(parts, parts), max_size=30).map(
    lambda rows: [use(number, live, dead) for number, (live, dead) in enumerate(rows)]
)
limits_of = st.builds(
    PruneLimits,
    max_unused_permille=st.none() | st.integers(0, 1000),
    max_unused_bytes=st.none() | parts,
    max_repack_bytes=st.none() | st.integers(0, 40 * MIB),
    has_small=st.booleans(),
)


@given(packs=packs_of, limits=limits_of)
def test_every_pack_is_deleted_packed_anew_or_kept_and_only_what_nothing_needs_is_deleted(packs, limits):
    plan = plan_prune(packs, limits)
    by_id = {pack.pack: pack for pack in packs}
    assert len(set(plan.victims)) == len(plan.victims)
    assert len(plan.victims) + plan.kept == len(packs)
    assert set(plan.delete) == {pack.pack for pack in packs if not pack.live_bytes}
    assert all(by_id[pack].live_bytes for pack in plan.repack)
    assert plan.move_bytes == sum(by_id[pack].live_bytes for pack in plan.repack)
    assert plan.repack_bytes == sum(by_id[pack].size_bytes for pack in plan.repack)
    assert plan.delete_bytes == sum(by_id[pack].size_bytes for pack in plan.delete)
    assert plan.total_bytes == sum(pack.size_bytes for pack in packs)


@given(packs=packs_of, limits=limits_of)
def test_no_more_is_moved_than_the_limit_and_waste_stays_only_for_a_reason(packs, limits):
    plan = plan_prune(packs, limits)
    live = sum(pack.live_bytes for pack in packs)
    if limits.max_repack_bytes is not None:
        assert plan.move_bytes <= limits.max_repack_bytes
    allowed = limits.unused_bytes(live)
    if plan.unused_bytes > allowed and not plan.held_back:
        wasteful = [pack for pack in packs if pack.live_bytes and pack.dead_bytes]
        chosen, left = [], sum(pack.dead_bytes for pack in wasteful)
        for pack in sorted(wasteful, key=lambda pack: pack.waste, reverse=True):
            if left > allowed:
                chosen.append(pack)
                left -= pack.dead_bytes
        moved = max(PACK_MIN_BYTES, sum(pack.live_bytes for pack in chosen))
        assert not plan.repack
        assert sum(pack.size_bytes for pack in chosen) <= moved, "packed anew it would be no smaller"
    if plan.repack:
        assert plan.repack_bytes > max(PACK_MIN_BYTES, plan.move_bytes), "packing anew makes it smaller"


@given(packs=packs_of, one=parts, more=parts, has_small=st.booleans())
def test_more_waste_allowed_never_packs_more_anew(packs, one, more, has_small):
    strict = plan_prune(packs, PruneLimits(max_unused_bytes=one))
    mild = plan_prune(packs, PruneLimits(max_unused_bytes=one + more))
    assert set(mild.repack) <= set(strict.repack) or not strict.repack
    assert mild.delete == strict.delete


@given(packs=packs_of, one=st.integers(0, 40 * MIB), more=st.integers(0, 40 * MIB))
def test_more_allowed_to_be_sent_never_packs_less_anew(packs, one, more):
    small = plan_prune(packs, PruneLimits(max_unused_bytes=0, max_repack_bytes=one))
    large = plan_prune(packs, PruneLimits(max_unused_bytes=0, max_repack_bytes=one + more))
    assert set(small.repack) <= set(large.repack)


@given(packs=packs_of, limits=limits_of, seed=st.randoms())
def test_the_order_of_packs_decides_nothing_but_among_equals(packs, limits, seed):
    shuffled = list(packs)
    seed.shuffle(shuffled)
    before, after = plan_prune(packs, limits), plan_prune(shuffled, limits)
    assert set(before.delete) == set(after.delete)
    waste = [pack.waste for pack in packs if pack.live_bytes]
    if len(set(waste)) == len(waste) and not limits.has_small:
        assert set(before.repack) == set(after.repack)


@given(packs=packs_of)
def test_once_pruned_nothing_is_left_to_delete(packs):
    plan = plan_prune(packs, NONE)
    gone = set(plan.victims)
    rest = [pack for pack in packs if pack.pack not in gone]
    moved = [use(99, plan.move_bytes, 0)] if plan.move_bytes else []
    again = plan_prune([*rest, *moved], NONE)
    assert not again.delete
    assert not (set(again.repack) & {pack.pack for pack in moved})


def test_the_most_wasteful_go_first_and_only_until_the_waste_is_small_enough():
    packs = [use(1, 8 * MIB, 1 * MIB), use(2, 1 * MIB, 8 * MIB), use(3, 4 * MIB, 4 * MIB)]
    plan = plan_prune(packs, PruneLimits(max_unused_bytes=5 * MIB))
    assert plan.repack == (packs[1].pack,)
    assert plan.unused_bytes == 5 * MIB
    assert plan_prune(packs, PruneLimits()).repack == (packs[1].pack, packs[2].pack, packs[0].pack)
    assert plan_prune(packs, PruneLimits(max_unused_permille=1000)).repack == ()
    assert plan_prune(packs, PruneLimits(max_unused_permille=None)).repack == ()


def test_small_packs_are_joined_only_on_demand_and_never_one_alone():
    small = [use(number, 1000, 0) for number in range(3)]
    large = use(9, SMALL_PACK_BYTES + 1, 0)
    assert plan_prune([*small, large], NONE).repack == ()
    wish = PruneLimits(has_small=True)
    assert set(plan_prune([*small, large], wish).repack) == {pack.pack for pack in small}
    assert plan_prune([small[0], large], wish).repack == ()


def test_the_list_of_the_newest_head_alone_is_no_reason_to_prune():
    old, listing = use(1, 0, 5 * MIB), use(2, 0, 1000)
    assert plan_packs([listing], NONE, {listing.pack}).victims == ()
    assert plan_packs([listing], NONE, {listing.pack}).kept == 1
    assert set(plan_packs([old, listing], NONE, {listing.pack}).delete) == {old.pack, listing.pack}
    assert plan_packs([listing], NONE, set()).delete == (listing.pack,)


def test_what_would_not_get_smaller_is_left_alone():
    assert plan_prune([use(1, 100 * KIB, 10 * KIB)], NONE).repack == ()
    assert len(plan_prune([use(1, 100 * KIB, 10 * KIB), use(2, 100 * KIB, 10 * KIB)], NONE).repack) == 2

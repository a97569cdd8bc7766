"""Placement: every chosen agreement gets a copy, none gets two."""

from hypothesis import given
from hypothesis import strategies as st

from backuppeer.ids import AgreementId, LogicalId, StoredId
from backuppeer.shares.copies import Copy
from backuppeer.shares.placement import plan_hosts, plan_repair

PACK = LogicalId(b"p" * 16)
agreements = st.integers(0, 9).map(lambda n: AgreementId(bytes([n]) * 16))


def copy_of(agreement: AgreementId, pack: LogicalId = PACK) -> Copy:
    return Copy(logical=pack, agreement=agreement, stored=StoredId(bytes(32)), size=1, header=bytes(64))


@given(chosen=st.lists(agreements), held=st.sets(agreements))
def test_after_the_plan_every_chosen_agreement_holds_exactly_one_copy(chosen, held) -> None:
    plan = plan_hosts(PACK, chosen, [copy_of(a) for a in held])
    assert held | set(plan) >= set(chosen)
    assert not held & set(plan)
    assert len(plan) == len(set(plan))
    assert list(plan) == sorted(plan, key=chosen.index)


def test_copies_of_other_packs_count_for_nothing() -> None:
    a = AgreementId(b"a" * 16)
    assert plan_hosts(PACK, [a], [copy_of(a, LogicalId(b"q" * 16))]) == (a,)


@given(chosen=st.lists(agreements, unique=True), held=st.sets(st.tuples(st.integers(0, 5), agreements)))
def test_repair_names_exactly_the_packs_that_lack_copies(chosen, held) -> None:
    packs = [LogicalId(bytes([n]) * 16) for n in range(6)]
    copies = [copy_of(a, packs[n]) for n, a in held]
    plans = plan_repair(packs, chosen, copies)
    for number, pack in enumerate(packs):
        lacking = tuple(a for a in chosen if (number, a) not in held)
        assert plans.get(pack, ()) == lacking
    assert all(plans.values())

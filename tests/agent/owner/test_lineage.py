import msgspec
import pytest

from agent.owner.test_heads import INDEX, chain_of, inventory, rows, taken_over
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.lineage import check_fits, check_writer, is_stray, plan_way
from backuppeer.errors import DamagedStateError
from backuppeer.proof.statements import Head, peek_statement


@pytest.fixture
def history(owner):
    """Six heads, each following the one before."""
    chain = chain_of(owner)
    for count in range(1, 7):
        chain.extend(INDEX, inventory(count))
    return rows(chain)


@pytest.fixture
def fork(owner, history, tmp_path):
    """Heads 3 and 4 made upon head 2 by a device that was set back to it."""
    state = State(tmp_path / "fork.db")
    chain = chain_of(owner, state)
    for _, signed, grant in history[:2]:
        chain.adopt(signed, grant)
    owner.clock.ms += 1000
    for count in (8, 9):
        chain.extend(INDEX, inventory(count))
    yield rows(chain)[2:]
    state.close()


def fits(row, known):
    check_fits(peek_statement(Head, row[1]), row[1], known)


@pytest.mark.parametrize("number", range(1, 7))
def test_every_head_of_one_history_fits_whatever_is_known_of_it(history, number):
    for at in range(6):
        fits(history[number - 1], history[at : at + 2])
        fits(history[number - 1], history[:1] + history[at:])


@pytest.mark.parametrize("at", [2, 3, 4])
def test_a_head_of_another_history_is_told_by_number_by_hash_or_by_time(history, fork, at):
    for row in fork:
        with pytest.raises(DamagedStateError, match="two histories"):
            fits(row, [history[at]])
        with pytest.raises(DamagedStateError, match="two histories"):
            fits(history[at], [row])


def test_the_way_to_the_newest_head_is_every_head_after_the_one_held(history):
    assert plan_way(history[2][1], history[2:], "bob") == history[3:]
    assert plan_way(history[5][1], history[5:], "bob") == []


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_without_the_heads_between_a_host_lags_and_is_named_not_blamed(history, missing):
    known = history[2:]
    del known[missing]
    with pytest.raises(DamagedStateError, match="bob lags behind at head 3"):
        plan_way(history[2][1], known, "bob")
    with pytest.raises(DamagedStateError, match="bob lags behind"):
        plan_way(history[5][1], [], "bob")


def test_a_host_with_another_head_of_the_same_number_is_no_host_that_lags(history, fork):
    with pytest.raises(DamagedStateError, match="two histories"):
        plan_way(fork[0][1], history[2:], "bob")


@pytest.fixture
def later(owner, history, tmp_path):
    """What a second device knows that saw head 3 only, took over, and made three heads."""
    chain = taken_over(owner, tmp_path)
    chain.adopt(*history[2][1:])
    owner.clock.ms += 1000
    for count in (8, 9, 10):
        chain.extend(INDEX, inventory(count))
    yield rows(chain)
    chain._state.close()


def stray(row, known):
    return is_stray(peek_statement(Head, row[1]), row[1], known)


def test_what_the_next_writer_saw_is_not_stray_and_what_came_after_is(history, later):
    assert [stray(row, later) for row in history] == [False] * 3 + [True] * 3
    assert not any(stray(row, later) for row in later)
    assert not any(stray(row, history) for row in later), "nothing is known above them"
    assert [stray(row, [*history, *later[1:]]) for row in history] == [False] * 3 + [True] * 3


def test_a_head_of_another_history_is_stray_also_below_the_one_that_was_seen(later, fork):
    assert all(stray(row, later) for row in fork)


def test_where_the_first_head_of_the_later_epoch_is_not_known_every_earlier_one_counts_as_stray(history, later):
    assert all(stray(row, later[-1:]) for row in history)


def test_a_host_with_a_head_of_an_earlier_epoch_needs_the_newest_head_only(history, later):
    for row in history:
        known = [one for one in later if one[0] >= row[0]]
        assert plan_way(row[1], known, "bob") == later[-1:]


def test_heads_of_two_devices_of_one_epoch_are_refused_by_name(history, later):
    mine, theirs = (peek_statement(Head, rows[-1][1]) for rows in (history, later))
    check_writer(theirs, mine)
    with pytest.raises(DamagedStateError, match="what another machine wrote"):
        check_writer(theirs, msgspec.structs.replace(theirs, device=mine.device))

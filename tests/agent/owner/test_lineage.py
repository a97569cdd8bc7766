import pytest

from agent.owner.test_heads import INDEX, chain_of, inventory, rows
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.lineage import check_fits, plan_way
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

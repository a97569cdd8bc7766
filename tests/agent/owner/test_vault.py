"""What an owner is told of the hosts it has, or has not."""

import pytest

from agent.estates import Estate
from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.errors import NotFoundError


@pytest.fixture
def estate(owner, tmp_path):
    made = Estate(owner, tmp_path / "estate")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("state", "is_told"), [(RequestState.WAITING, True), (RequestState.REJECTED, False), (None, False)]
)
def test_who_has_no_host_yet_is_told_of_a_request_that_waits(estate, house, state, is_told):
    estate.state.meet(house.peer, 1, alias="alice")
    if state is not None:
        now_ms = estate.vault.clock.now_ms()
        estate.state.put_request(RequestRecord("ab", Direction.OUT, house.peer, 1, 1, 1, state, now_ms))
    with pytest.raises(NotFoundError, match="no host has agreed") as told:
        estate.vault.partners()
    assert ("your request to alice waits for an answer" in told.value.hint) == is_told

"""Refusals: each code is sorted into what a host may say, and what withholds our data."""

import pytest

from backuppeer.agent.peers.channel import error_of
from backuppeer.errors import Refusal, RefusedError, StoreBusy, StoreUnavailable
from backuppeer.wire.codes import WITHHOLDING, RefusalCode, classify_refusal
from backuppeer.wire.messages import Refused

NEW = 999


def test_every_code_is_classified():
    assert set(WITHHOLDING) == set(RefusalCode)


@pytest.mark.parametrize("code", [*RefusalCode, NEW])
def test_a_host_may_refuse_to_take_something_new_for_whatever_reason(code):
    assert classify_refusal(code, is_read=False) is Refusal.ALLOWED


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        (RefusalCode.POLICY, Refusal.FAULT),
        (RefusalCode.QUOTA, Refusal.FAULT),
        (RefusalCode.NO_AGREEMENT, Refusal.FAULT),
        (RefusalCode.STORE_UNAVAILABLE, Refusal.ALLOWED),
        (RefusalCode.NOT_FOUND, Refusal.FAULT),
        (RefusalCode.DAMAGED, Refusal.FAULT),
        (RefusalCode.STALE, Refusal.FAULT),
        (RefusalCode.BUSY, Refusal.ALLOWED),
        (RefusalCode.OVER_BUDGET, Refusal.FAULT),
        (RefusalCode.OWED, Refusal.FAULT),
        (RefusalCode.SUCCEEDED, Refusal.FAULT),
        (NEW, Refusal.FAULT),
    ],
)
def test_what_it_keeps_it_gives_back_unless_its_disk_is_away_or_it_is_busy(code, refusal):
    assert classify_refusal(code, is_read=True) is refusal


@pytest.mark.parametrize("code", [*RefusalCode, NEW])
def test_only_a_challenge_names_a_head_and_has_a_budget(code):
    is_its_own = code in {RefusalCode.STALE, RefusalCode.OVER_BUDGET}
    otherwise = classify_refusal(code, is_read=True)
    expected = Refusal.ALLOWED if is_its_own else otherwise
    assert classify_refusal(code, is_read=True, is_challenge=True) is expected
    if is_its_own:
        assert error_of(Refused(code=code), is_read=True).refusal is Refusal.FAULT, "a restore has no bound"


def test_what_a_refusal_is_raised_as_tells_which_it_was():
    full, gone = Refused(code=RefusalCode.QUOTA), Refused(code=RefusalCode.NOT_FOUND)
    assert error_of(full).refusal is Refusal.ALLOWED
    assert error_of(gone, is_read=True).refusal is Refusal.FAULT
    assert isinstance(error_of(Refused(code=RefusalCode.BUSY), is_read=True), StoreBusy)
    assert isinstance(error_of(Refused(code=RefusalCode.STORE_UNAVAILABLE), is_read=True), StoreUnavailable)
    assert RefusedError("our own rules").refusal is Refusal.OWN

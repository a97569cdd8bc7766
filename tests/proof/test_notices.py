"""For how long all is kept after a notice."""

import msgspec
import pytest

from backuppeer.limits import HOLD_FACTOR, LISTING_TERM_S
from backuppeer.proof.notices import kept_s
from proof.test_revisions import FIRST


@pytest.mark.parametrize("spans", [{"notice_s": 2**62}, {"lock_s": 2**62}, {"notice_s": 2**63 - 1, "lock_s": 2**60}])
def test_terms_that_were_once_co_signed_bind_for_no_longer_than_the_longest_lock_does(spans):
    terms = msgspec.structs.replace(FIRST, **spans)
    for party in (terms.owner, terms.host):
        assert kept_s(terms, party) == HOLD_FACTOR * LISTING_TERM_S


def test_an_owners_notice_holds_for_two_locks_a_hosts_for_one_and_each_for_the_notice_at_least():
    longest = msgspec.structs.replace(FIRST, lock_s=LISTING_TERM_S)
    assert kept_s(longest, FIRST.owner) == 2 * LISTING_TERM_S
    assert kept_s(longest, FIRST.host) == LISTING_TERM_S
    assert kept_s(FIRST, FIRST.owner) == kept_s(FIRST, FIRST.host) == FIRST.notice_s

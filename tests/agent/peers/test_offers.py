"""Terms and sizes as given, as meant by default, and those that can't be meant."""

import pytest

from backuppeer.agent.peers.offers import check_storage, choose_terms
from backuppeer.errors import UserError
from backuppeer.limits import LOCK_DEFAULT_S, STORAGE_MIN_BYTES, TERM_DEFAULT_S


def test_what_is_not_given_is_the_default_and_a_lock_of_0_is_given():
    assert choose_terms(None, None) == (TERM_DEFAULT_S, LOCK_DEFAULT_S)
    assert choose_terms(60, 0) == (60, 0)


@pytest.mark.parametrize("terms", [(0, None), (-1, None), (None, -1)])
def test_terms_that_make_no_sense_are_refused(terms):
    with pytest.raises(UserError):
        choose_terms(*terms)


def test_a_size_below_what_a_backup_has_under_way_is_refused():
    check_storage(STORAGE_MIN_BYTES, example="")
    with pytest.raises(UserError, match="the least is 64MiB") as caught:
        check_storage(STORAGE_MIN_BYTES - 1, example="host --storage 50GB")
    assert "host --storage 50GB" in caught.value.hint
    for size, shown in ((10**7, "10MB"), (50, "50 bytes"), (0, "0 bytes")):
        with pytest.raises(UserError, match=f"--storage is {shown}, and"):
            check_storage(size, example="")
    with pytest.raises(UserError, match=r"^the size is 5MB, and"):
        check_storage(5 * 10**6, example="", what="the size")

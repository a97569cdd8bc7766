"""The file of a request about packs: both forms, round trips, and whatever is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.host.kept import FILE_BYTES, GRANTED_MAGIC, PLAIN_MAGIC, Kept, join_kept, split_kept
from backuppeer.ids import StoredId
from backuppeer.limits import REMOVAL_PACKS, SIGNED_BYTES

IDS = st.lists(st.binary(min_size=32, max_size=32).map(StoredId), min_size=1, max_size=5).map(tuple)
PARTS = st.binary(min_size=1, max_size=200)
PLAIN = st.builds(Kept, PARTS, IDS)
GRANTED = st.builds(Kept, PARTS, IDS, PARTS, st.binary(min_size=64, max_size=64))


@given(PLAIN | GRANTED)
def test_what_was_joined_is_split_again(kept):
    assert split_kept(join_kept(kept)) == kept
    assert join_kept(kept).startswith(GRANTED_MAGIC if kept.grant else PLAIN_MAGIC)


@given(PLAIN | GRANTED, st.data())
def test_a_file_that_was_cut_is_never_read_as_another_request(kept, data):
    whole = join_kept(kept)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        found = split_kept(cut)
    except ValueError:
        return
    assert (found.signed, found.grant, found.device_sig) == (kept.signed, kept.grant, kept.device_sig)
    assert found.packs == kept.packs[: len(found.packs)], "fewer packs: their root, which is signed, tells"


def test_the_form_without_a_grant_is_the_one_of_before():
    kept = Kept(b"signed", (StoredId(b"p" * 32),))
    assert join_kept(kept) == b"BPREM01\n" + b"\0\0\0\6" + b"signed" + b"p" * 32


def test_the_largest_request_fits_and_more_is_refused():
    packs = (StoredId(bytes(32)),) * REMOVAL_PACKS
    largest = Kept(bytes(SIGNED_BYTES), packs, bytes(SIGNED_BYTES), bytes(64))
    assert split_kept(join_kept(largest)) == largest
    over = join_kept(Kept(b"s", packs * 2))
    assert len(over) > FILE_BYTES
    with pytest.raises(ValueError, match=r"^$"):
        split_kept(over)


@pytest.mark.parametrize("data", [b"", b"BPREM03\n" + bytes(40), PLAIN_MAGIC, GRANTED_MAGIC + bytes(200)])
def test_whatever_else_is_no_request(data):
    with pytest.raises(ValueError, match=r"^$"):
        split_kept(data)

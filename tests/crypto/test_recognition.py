"""How two partners recognise each other: by what only they know, at one door, once."""

import pytest

from backuppeer.crypto.recognition import (
    NONCE_BYTES,
    RECOGNITION_TAG_BYTES,
    SEAL_BYTES,
    derive_recognition,
    make_nonce,
)
from backuppeer.errors import IntegrityFault
from backuppeer.ids import AgreementId, RepositoryId

OURS = derive_recognition(AgreementId(b"a" * 16), RepositoryId(b"r" * 16))
CHALLENGE, NONCE = b"c" * 32, b"n" * 32


def test_both_sides_make_the_same_tag_and_open_what_the_other_sealed():
    theirs = derive_recognition(AgreementId(b"a" * 16), RepositoryId(b"r" * 16))
    tag = OURS.tag(CHALLENGE, NONCE)
    assert len(tag) == RECOGNITION_TAG_BYTES
    assert theirs.is_tag(tag, CHALLENGE, NONCE)
    sealed = theirs.seal(b"here", CHALLENGE, NONCE)
    assert len(sealed) == 4 + SEAL_BYTES
    assert OURS.open(sealed, CHALLENGE, NONCE) == b"here"


@pytest.mark.parametrize(
    "other",
    [
        derive_recognition(AgreementId(b"b" * 16), RepositoryId(b"r" * 16)),
        derive_recognition(AgreementId(b"a" * 16), RepositoryId(b"s" * 16)),
    ],
)
def test_who_knows_only_one_of_the_two_ids_is_not_recognised(other):
    assert not other.is_tag(OURS.tag(CHALLENGE, NONCE), CHALLENGE, NONCE)
    with pytest.raises(IntegrityFault):
        other.open(OURS.seal(b"here", CHALLENGE, NONCE), CHALLENGE, NONCE)


def test_a_tag_and_an_answer_are_good_for_one_challenge_and_one_nonce():
    tag, sealed = OURS.tag(CHALLENGE, NONCE), OURS.seal(b"here", CHALLENGE, NONCE)
    for challenge, nonce in ((b"d" * 32, NONCE), (CHALLENGE, b"m" * 32)):
        assert not OURS.is_tag(tag, challenge, nonce)
        with pytest.raises(IntegrityFault):
            OURS.open(sealed, challenge, nonce)


def test_nonces_are_fresh_and_nothing_shows_the_root():
    assert len({make_nonce() for _ in range(8)}) == 8
    assert len(make_nonce()) == NONCE_BYTES
    assert repr(OURS) == "Recognition()"


def test_the_tag_is_that_of_the_documents():
    """docs/keys-and-statements.md, "Recognition"."""
    assert OURS.tag(CHALLENGE, NONCE).hex() == "937388b2e8d786f92449147803911641266792186740b80b25bbdf7b32037b50"

"""A key from a spoken code: the same words give the same key, and everything else gives none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.spoken import MESSAGE_BYTES, SPOKEN_WORDS, Exchange, pick_words
from backuppeer.crypto.words import list_words
from backuppeer.errors import AuthenticationFault

PLACE = b"one.example\0\0\0\0\7"


def pair(*, words=("a-b", "a-b"), places=(PLACE, PLACE)):
    host, guest = (Exchange(words[n], places[n], is_host=n == 0) for n in (0, 1))
    return host.finish(guest.message), guest.finish(host.message)


def test_who_say_the_same_words_at_the_same_place_share_a_key():
    host, guest = pair()
    assert host.open(guest.seal(b"guest", b"seen"), b"seen") == b"guest"
    assert guest.open(host.seal(b"host", b"seen"), b"seen") == b"host"


@pytest.mark.parametrize(
    "other",
    [
        {"words": ("a-b", "a-c")},
        {"places": (PLACE, b"two.example\0\0\0\0\7")},
        {"places": (PLACE, PLACE[:-1] + b"\10")},
    ],
)
def test_other_words_another_server_or_number_give_another_key(other):
    host, guest = pair(**other)
    with pytest.raises(AuthenticationFault, match="not the same"):
        host.open(guest.seal(b"guest", b"seen"), b"seen")


def test_what_is_sealed_is_for_the_other_side_and_for_what_both_have_seen():
    host, guest = pair()
    sealed = guest.seal(b"guest", b"seen")
    for opener, seen in ((guest, b"seen"), (host, b"other")):
        with pytest.raises(AuthenticationFault):
            opener.open(sealed, seen)


def test_two_of_one_role_and_a_reflected_message_are_refused():
    for is_host in (True, False):
        one, other = (Exchange("a-b", PLACE, is_host=is_host) for _ in range(2))
        with pytest.raises(AuthenticationFault):
            one.finish(other.message)
    host = Exchange("a-b", PLACE, is_host=True)
    with pytest.raises(AuthenticationFault):
        host.finish(b"B" + host.message[1:])


@given(st.one_of(st.binary(max_size=40), st.binary(min_size=32, max_size=32).map(b"B".__add__)))
def test_what_is_no_point_is_refused_or_leads_to_no_key_that_fits(message):
    host = Exchange("a-b", PLACE, is_host=True)
    with pytest.raises(AuthenticationFault):
        host.finish(message).open(bytes(50), b"seen")


def test_points_of_small_order_are_refused():
    for point in (b"\1" + bytes(31), bytes(32), b"\xec" + b"\xff" * 30 + b"\x7f"):
        with pytest.raises(AuthenticationFault):
            Exchange("a-b", PLACE, is_host=True).finish(b"B" + point)


def test_messages_tell_nothing_of_the_words_and_are_never_the_same():
    messages = {Exchange("a-b", PLACE, is_host=True).message for _ in range(20)}
    assert len(messages) == 20
    assert {len(message) for message in messages} == {MESSAGE_BYTES}


def test_nothing_shows_a_key():
    host, _ = pair()
    assert repr(host) == "<SharedKey>"
    assert repr(Exchange("a-b", PLACE, is_host=True)) == "<Exchange>"


def test_words_are_picked_from_all_of_the_list():
    picked = [pick_words().split("-") for _ in range(200)]
    assert {len(words) for words in picked} == {SPOKEN_WORDS}
    assert {word for words in picked for word in words} <= set(list_words())
    assert len({word for words in picked for word in words}) > 300
    assert len(list_words()) == 2048

"""The text of an invite: what it says comes back, however it was copied, and no slip of the pen passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.errors import LocalError, UserError
from backuppeer.ids import PeerId, format_bech32m, format_peer_id
from backuppeer.limits import INVITE_CHARS, INVITE_SERVERS
from backuppeer.signaling.invite import Invite, format_invite, is_invite, parse_invite
from backuppeer.signaling.servers import DEFAULT_SERVER

LOCAL = "ws://127.0.0.1:4711"
SAMPLE = Invite(PeerId(bytes(range(32))), b"0123456789abcdef", 1_795_000_000, (LOCAL,))
TEXT = format_invite(SAMPLE)
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
PLACES = [DEFAULT_SERVER, LOCAL, "wss://one.example:8443"]
invites = st.builds(
    Invite,
    st.binary(min_size=32, max_size=32).map(PeerId),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 0xFFFF_FFFF),
    st.lists(st.sampled_from(PLACES), min_size=1, max_size=2, unique=True).map(tuple),
)


@given(invites)
def test_what_an_invite_says_comes_back(invite):
    assert parse_invite(format_invite(invite)) == invite


@given(invites, st.data())
def test_one_changed_character_is_refused_wherever_it_stands(invite, data):
    text = format_invite(invite)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(sorted(set(ALPHABET + "1bio") - {text[place]})))
    with pytest.raises(UserError):
        parse_invite(text[:place] + other + text[place + 1 :])


@given(invites, st.data())
def test_a_character_lost_or_two_swapped_are_refused(invite, data):
    text = format_invite(invite)
    place = data.draw(st.integers(4, len(text) - 2))
    with pytest.raises(UserError):
        parse_invite(text[:place] + text[place + 1 :])
    swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    if swapped != text:
        with pytest.raises(UserError):
            parse_invite(swapped)


@pytest.mark.parametrize(
    "copied",
    [
        TEXT.upper(),
        f"\n  {TEXT[:40]}\n> ".replace(">", "") + TEXT[40:] + "\r\n",
        "-".join(TEXT[n : n + 4] for n in range(0, len(TEXT), 4)),
        "\t".join(TEXT.swapcase()),
    ],
)
def test_blanks_line_breaks_hyphens_and_capitals_mean_nothing(copied):
    assert is_invite(copied)
    assert parse_invite(copied) == SAMPLE


def test_with_the_default_server_it_is_as_short_as_can_be():
    text = format_invite(Invite(SAMPLE.host, SAMPLE.secret, SAMPLE.expires_s, (DEFAULT_SERVER,)))
    assert len(text) == 95
    assert parse_invite(text).servers == (DEFAULT_SERVER,)


def test_servers_beyond_two_are_left_out_and_read_by_nobody():
    names = tuple(f"wss://h{n}.example" for n in range(INVITE_SERVERS + 1))
    text = format_invite(Invite(SAMPLE.host, SAMPLE.secret, 1, names))
    assert parse_invite(text).servers == names[:INVITE_SERVERS]
    more = format_bech32m("bpi", b"\1" + bytes(52) + b"\n".join(n.encode() for n in names))
    with pytest.raises(UserError, match="no server"):
        parse_invite(more)


def test_addresses_that_make_it_too_long_are_refused_before_it_is_given_away():
    long = tuple(f"ws://{'a' * 249}{n}" for n in range(INVITE_SERVERS))
    assert len(format_invite(Invite(SAMPLE.host, SAMPLE.secret, 1, long))) <= INVITE_CHARS
    with pytest.raises(LocalError, match="too long"):
        format_invite(Invite(SAMPLE.host, SAMPLE.secret, 1, tuple(f"{name}{'b' * 80}" for name in long)))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not an invite"),
        ("bpi1", "not an invite"),
        (format_peer_id(SAMPLE.host), "not an invite"),
        (TEXT + TEXT, "not an invite"),
        ("bpi1" + "q" * INVITE_CHARS, "not an invite"),
        (" " * 5000 + TEXT, "not an invite"),
        (TEXT.replace("q", "\N{CYRILLIC SMALL LETTER A}", 1), "not an invite"),
        (format_bech32m("bpi", b""), "not an invite"),
        (format_bech32m("bpi", b"\2" + bytes(52)), "version 2"),
        (format_bech32m("bpi", b"\1" + bytes(51)), "cut short"),
        (format_bech32m("bpi", b"\1" + bytes(52) + b"\xff"), "no server"),
        (format_bech32m("bpi", b"\1" + bytes(52) + b"ws://a\nhttp://b"), "no server"),
    ],
)
def test_what_is_no_invite_is_refused_by_name(text, why):
    with pytest.raises(UserError, match=why):
        parse_invite(text)


def test_an_invite_shows_nothing_of_its_secret():
    assert "0123456789abcdef" not in repr(SAMPLE)
    assert SAMPLE.keys.root.hex() not in repr(SAMPLE.keys)
    assert SAMPLE.keys.root not in repr(SAMPLE.keys).encode()

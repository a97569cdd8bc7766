"""Peer ids as text: bech32m, and nothing that merely looks like it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.errors import UserError
from backuppeer.ids import MIN_PREFIX, PeerId, format_peer_id, parse_peer_id, shorten_peer_id

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32, BECH32M = 1, 0x2BC830A3
PEER = PeerId(bytes(range(32)))
TEXT = format_peer_id(PEER)
peers = st.binary(min_size=32, max_size=32)

# BIP-350, "Test vectors for Bech32m": the strings that are valid, and those that are not.
VALID = [
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
]
INVALID = [
    "\x201xj0phk",
    "\x7f1g6xzxy",
    "\x801vctc34",
    "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
    "qyrz8wqd2c9m",
    "1qyrz8wqd2c9m",
    "y1b0jsk6g",
    "lt1igcx5c0",
    "in1muywd",
    "mm1crxm3i",
    "au1s5cgom",
    "M1VUXWEZ",
    "16plkw9",
    "1p2gdwpf",
]


@pytest.mark.parametrize("wrong", ["q", "b"])
def test_an_id_with_one_wrong_character_is_told_so_and_not_that_its_length_is_wrong(wrong):
    typed = f"{TEXT[:30]}{wrong if TEXT[30] != wrong else 'p'}{TEXT[31:]}"
    with pytest.raises(UserError, match="its checksum does not fit, so at least one"):
        parse_peer_id(typed)
    with pytest.raises(UserError) as told:
        parse_peer_id(typed[:-1])
    assert "61 characters" in told.value.hint


def polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if (top >> i) & 1 else 0
    return check


def expand(hrp: str) -> list[int]:
    return [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]


def encode(hrp: str, values: list[int], constant: int = BECH32M) -> str:
    """Write any values under any prefix, as the reference of BIP-350 does: to make texts that are almost right."""
    check = polymod(expand(hrp) + values + [0] * 6) ^ constant
    return hrp + "1" + "".join(ALPHABET[v] for v in values + [check >> 5 * (5 - i) & 31 for i in range(6)])


def is_bech32m(text: str) -> bool:
    lowered = text.lower()
    hrp, _, data = lowered.rpartition("1")
    if text not in (lowered, text.upper()) or not hrp or len(text) > 90 or len(data) < 6:
        return False
    if any(not 33 <= ord(c) <= 126 for c in hrp) or any(c not in ALPHABET for c in data):
        return False
    return polymod(expand(hrp) + [ALPHABET.index(c) for c in data]) == BECH32M


def to_symbols(data: bytes, *, padding: int = 0) -> list[int]:
    bits = "".join(f"{octet:08b}" for octet in data)
    rest = -len(bits) % 5
    bits += f"{padding:0{rest}b}" if rest else ""
    return [int(bits[i : i + 5], 2) for i in range(0, len(bits), 5)]


@pytest.mark.parametrize("text", VALID)
def test_reference_of_this_test_accepts_the_official_vectors(text):
    assert is_bech32m(text)
    lowered = text.lower()
    hrp, _, data = lowered.rpartition("1")
    assert encode(hrp, [ALPHABET.index(c) for c in data[:-6]]) == lowered


@pytest.mark.parametrize("text", INVALID)
def test_reference_of_this_test_refuses_the_official_vectors(text):
    assert not is_bech32m(text)


@pytest.mark.parametrize("text", [*VALID, *INVALID])
def test_official_vectors_are_no_peer_ids(text):
    with pytest.raises(UserError):
        parse_peer_id(text)


@given(peers)
def test_text_of_a_peer_id_is_bech32m_and_returns(peer):
    text = format_peer_id(PeerId(peer))
    assert text == encode("bp", to_symbols(peer))
    assert len(text) == 61
    assert parse_peer_id(text) == peer
    assert parse_peer_id(text.upper()) == peer


def test_fixed_peer_ids_have_fixed_texts():
    assert format_peer_id(PeerId(bytes(32))) == "bp1" + "q" * 52 + "u8dmfk"
    assert parse_peer_id("bp1" + "q" * 52 + "u8dmfk") == bytes(32)
    assert TEXT == "bp1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0s4nxef0"


@given(peers, st.integers(0, 60), st.sampled_from(ALPHABET + "1bio"))
def test_one_changed_character_is_refused(peer, at, character):
    text = format_peer_id(PeerId(peer))
    changed = text[:at] + character + text[at + 1 :]
    if changed != text:
        with pytest.raises(UserError):
            parse_peer_id(changed)


@given(peers, st.integers(3, 59))
def test_two_swapped_neighbours_are_refused(peer, at):
    text = format_peer_id(PeerId(peer))
    swapped = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if swapped != text:
        with pytest.raises(UserError):
            parse_peer_id(swapped)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bp",
        "bp1",
        TEXT[:-1],
        TEXT[3:],
        TEXT + "q",
        TEXT[:30] + TEXT[30:].upper(),
        "Bp1" + TEXT[3:],
        " " + TEXT,
        TEXT + "\n",
        TEXT.replace("bp1", "bq1"),
        TEXT[:10] + " " + TEXT[11:],
        TEXT[:10] + "é" + TEXT[11:],
        TEXT[:10] + "\udc80" + TEXT[11:],
        encode("bp", to_symbols(PEER), BECH32),
        encode("bq", to_symbols(PEER)),
        encode("bp1", to_symbols(PEER)),
        encode("bp", to_symbols(PEER[:31])),
        encode("bp", to_symbols(PEER + b"\0")),
        encode("bp", []),
        encode("bp", [0]),
        encode("bp", to_symbols(PEER, padding=1)),
        encode("bp", [*to_symbols(PEER), 0]),
        encode("bp", [0] * 300),
    ],
    ids=repr,
)
def test_text_that_is_almost_a_peer_id_is_refused(text):
    with pytest.raises(UserError) as caught:
        parse_peer_id(text)
    assert "bp1" in caught.value.hint


@given(st.text(max_size=100))
def test_any_other_text_is_refused(text):
    with pytest.raises(UserError):
        parse_peer_id(text)


def test_long_text_is_refused_with_a_short_message():
    with pytest.raises(UserError) as caught:
        parse_peer_id("bp1" + "q" * 100_000)
    assert len(caught.value.message) < 120


@given(peers)
def test_short_form_is_long_enough_for_a_prefix(peer):
    short = shorten_peer_id(PeerId(peer))
    assert format_peer_id(PeerId(peer)).startswith(short)
    assert len(short) >= len("bp1") + MIN_PREFIX

"""The words of a master, and the words two people compare."""

import json
from pathlib import Path

import pytest
from argon2.low_level import Type, hash_secret_raw
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from backuppeer.crypto.words import decode_words, encode_words, generate_master, safety_words
from backuppeer.errors import LocalError, UserError
from backuppeer.ids import PeerId

VECTORS = Path(__file__).parents[1] / "vectors"
WORDS = json.loads((VECTORS / "words.json").read_text())["words"]
PAIRS = json.loads((VECTORS / "safety_words.json").read_text())["pairs"]
LIST = Mnemonic("english").wordlist
GOOD = WORDS[4]["words"].split()
masters = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize("vector", WORDS, ids=lambda v: v["master"][:8])
def test_words_are_those_of_bip_39(vector):
    master = bytes.fromhex(vector["master"])
    assert encode_words(master) == vector["words"]
    assert decode_words(vector["words"]) == master


@given(masters)
def test_words_return_their_master(master):
    assert decode_words(encode_words(master)) == master


@given(masters, st.sampled_from([" ", "\n", "\t", "  ", "\r\n", "\u00a0", "\u3000"]))
def test_case_and_white_space_do_not_matter(master, space):
    assert decode_words(f"{space}{space.join(encode_words(master).split())}{space}".upper()) == master


@given(masters, st.integers(4, 7))
def test_first_four_letters_are_enough(master, letters):
    assert decode_words(" ".join(word[:letters] for word in encode_words(master).split())) == master


def test_four_letters_name_one_word_and_three_may_not():
    assert len({word[:4] for word in LIST}) == len(LIST)
    with pytest.raises(UserError, match="word 1 "):
        decode_words(" ".join(["aba", *GOOD[1:]]))


def test_generated_masters_differ():
    assert generate_master() != generate_master()
    assert len(generate_master()) == 32


@pytest.mark.parametrize("count", [0, 1, 12, 23, 25, 48])
def test_another_number_of_words_is_refused_with_the_number(count):
    with pytest.raises(UserError, match=f"^{count} words"):
        decode_words(" ".join(["zoo"] * count))


@pytest.mark.parametrize("position", [1, 7, 24])
def test_unknown_word_is_named_by_its_position_alone(position):
    words = list(GOOD)
    words[position - 1] = "qxqxqx"
    with pytest.raises(UserError, match=f"word {position} ") as caught:
        decode_words(" ".join(words))
    assert "qxqx" not in caught.value.message + caught.value.hint


def test_near_word_is_suggested():
    with pytest.raises(UserError) as caught:
        decode_words(" ".join(["hampster", *GOOD[1:]]))
    assert "'hamster'" in caught.value.hint


def test_after_a_wrong_checksum_the_words_completed_from_a_prefix_are_pointed_at():
    for typed, where in (
        ([*GOOD[1::-1], *GOOD[2:]], "compare each"),
        ([GOOD[1][:4], *GOOD[:1], *GOOD[2:]], "word 1 was completed"),
        ([GOOD[1][:4], GOOD[0][:4], *GOOD[2:]], "words 1, 2 were completed"),
    ):
        with pytest.raises(UserError, match="checksum") as told:
            decode_words(" ".join(typed))
        assert where in told.value.hint


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("lable", "'label' or 'able'"), ("wirte", "'write'"), ("hamstre", "'hamster'"), ("aple", "'maple' or")],
)
def test_a_word_with_two_letters_swapped_is_offered_first(typed, hint):
    with pytest.raises(UserError) as caught:
        decode_words(" ".join([typed, *GOOD[1:]]))
    assert caught.value.hint.startswith(f"did you mean {hint}")


def test_swapped_words_fail_the_checksum():
    with pytest.raises(UserError, match="checksum"):
        decode_words(" ".join([GOOD[1], GOOD[0], *GOOD[2:]]))


@given(st.text(max_size=400))
def test_any_text_is_refused_as_the_users_mistake(text):
    with pytest.raises(UserError):
        decode_words(text)


def test_very_long_text_is_refused_before_it_is_looked_at():
    with pytest.raises(UserError, match="24 words"):
        decode_words("zoo " * 300)


def test_ligatures_and_full_width_letters_read_as_letters():
    wide = "".join(chr(ord(c) + 0xFEE0) for c in GOOD[0])
    assert decode_words(" ".join([wide, *GOOD[1:]])) == bytes.fromhex(WORDS[4]["master"])


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_master_of_another_length_has_no_words(length):
    with pytest.raises(LocalError):
        encode_words(bytes(length))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: f"{p['a'][:6]}-{p['b'][:6]}")
def test_safety_words_are_those_of_the_vector(pair):
    assert safety_words(PeerId(bytes.fromhex(pair["a"])), PeerId(bytes.fromhex(pair["b"]))) == pair["words"]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: f"{p['a'][:6]}-{p['b'][:6]}")
def test_the_reference_implementation_of_argon2_gives_the_words_of_the_vector(pair):
    """From docs/keys-and-statements.md, "Safety words", without a line of our code."""
    tag = hash_secret_raw(
        secret=b"".join(sorted((bytes.fromhex(pair["a"]), bytes.fromhex(pair["b"])))),
        salt=b"backuppeer/v1/safety-words",
        time_cost=3,
        memory_cost=65536,
        parallelism=1,
        hash_len=32,
        type=Type.ID,
        version=0x13,
    )
    bits = f"{int.from_bytes(tag, 'big'):0256b}"
    assert " ".join(LIST[int(bits[11 * n : 11 * n + 11], 2)] for n in range(8)) == pair["words"]


def test_safety_words_are_the_same_on_both_screens_and_differ_between_pairs():
    assert (PAIRS[1]["a"], PAIRS[1]["b"]) == (PAIRS[2]["b"], PAIRS[2]["a"])
    assert PAIRS[1]["words"] == PAIRS[2]["words"]
    assert len({pair["words"] for pair in PAIRS}) == 3
    assert all(len(pair["words"].split()) == 8 and set(pair["words"].split()) <= set(LIST) for pair in PAIRS)


@pytest.mark.parametrize(("a", "b"), [(31, 32), (32, 33), (0, 32)])
def test_safety_words_of_something_else_than_peer_ids_are_refused(a, b):
    with pytest.raises(LocalError):
        safety_words(PeerId(bytes(a)), PeerId(bytes(b)))

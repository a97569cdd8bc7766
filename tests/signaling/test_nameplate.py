"""Spoken codes as people type them, and the messages that meet at their number."""

import os

import msgspec
import pytest

from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.crypto.invitation import derive_invitation, derive_nameplate
from backuppeer.errors import IntegrityFault, ProtocolViolation, UserError
from backuppeer.ids import PeerId
from backuppeer.limits import INVITE_CHARS, KNOCK_BYTES, NAMEPLATES, NOTE_BYTES, SPOKEN_S
from backuppeer.signaling.nameplate import (
    Plate,
    Reply,
    SpokenCode,
    Word,
    is_spoken,
    open_plate,
    open_spoken_reply,
    open_word,
    parse_code,
    seal_plate,
    seal_spoken_reply,
    seal_word,
    transcript_of,
)
from signaling.kit import NOW_MS

KEY = EnvelopeKey.generate()
INBOX = b"i" * 32
PLATE = Plate(message=b"A" * 33, inbox=INBOX, key=KEY.public, expires_ms=NOW_MS + SPOKEN_S * 1000)
WORD = Word(message=b"B" * 33, confirmation=b"c" * 112, inbox=b"j" * 32, key=KEY.public)
PLACE = derive_nameplate(7)


@pytest.mark.parametrize("typed", ["7-abandon-ability", " 7 Abandon  ABILITY\n", "7-aban-abil", "007-abandon-ability"])
def test_a_code_is_understood_as_people_type_it(typed):
    assert is_spoken(typed)
    assert parse_code(typed) == SpokenCode(7, "abandon-ability")
    assert str(parse_code(typed)) == "7-abandon-ability"


NO_CODES = ["", "7", "7-abandon", "abandon-ability", "7-abandon-ability-able", "12345-abandon-ability", "alice"]


@pytest.mark.parametrize("typed", NO_CODES)
def test_what_is_no_code_is_taken_for_none(typed):
    assert not is_spoken(typed)
    with pytest.raises(UserError):
        parse_code(typed)


def test_a_word_of_no_list_is_told_before_it_burns_anything():
    with pytest.raises(UserError, match="word 2 is not in the list") as told:
        parse_code("7-abandon-abiltiy")
    assert "ability" in told.value.hint


def test_numbers_have_four_digits_at_most():
    assert parse_code(f"{NAMEPLATES}-abandon-ability").number == NAMEPLATES
    with pytest.raises(UserError):
        parse_code("0-abandon-ability")


def test_a_code_shows_nothing_of_its_words():
    assert "abandon" not in repr(SpokenCode(7, "abandon-ability"))


def test_messages_have_the_sizes_that_servers_know_and_come_back():
    sealed = seal_plate(PLATE, PLACE, INBOX)
    assert (len(sealed), open_plate(sealed, PLACE, INBOX, now_ms=NOW_MS)) == (NOTE_BYTES, PLATE)
    sealed = seal_word(WORD, PLATE)
    assert (len(sealed), open_word(sealed, KEY, INBOX)) == (KNOCK_BYTES, WORD)
    for confirmation in (b"", b"c" * (INVITE_CHARS + 112)):
        sealed = seal_spoken_reply(Reply(confirmation=confirmation), WORD)
        assert len(sealed) == KNOCK_BYTES
        assert open_spoken_reply(sealed, KEY, WORD.inbox).confirmation == confirmation


def test_a_plate_counts_while_somebody_waits_and_no_longer():
    sealed = seal_plate(PLATE, PLACE, INBOX)
    assert open_plate(sealed, PLACE, INBOX, now_ms=PLATE.expires_ms - 1) == PLATE
    assert open_plate(sealed, PLACE, INBOX, now_ms=PLATE.expires_ms) is None
    late = msgspec.structs.replace(PLATE, expires_ms=NOW_MS + 2 * SPOKEN_S * 1000 + 1)
    assert open_plate(seal_plate(late, PLACE, INBOX), PLACE, INBOX, now_ms=NOW_MS) is None


def test_where_nothing_lies_or_something_else_there_is_no_plate():
    elsewhere = (seal_plate(PLATE, derive_nameplate(8), INBOX), seal_plate(PLATE, PLACE, b"x" * 32))
    for sealed in (os.urandom(NOTE_BYTES), *elsewhere):
        with pytest.raises(IntegrityFault):
            open_plate(sealed, PLACE, INBOX, now_ms=NOW_MS)


@pytest.mark.parametrize("part", [{"message": b"A" * 32}, {"inbox": b"i"}, {"key": b"k"}])
def test_parts_of_a_wrong_length_are_refused(part):
    broken = msgspec.structs.replace(PLATE, **part)
    with pytest.raises(ProtocolViolation, match="wrong length"):
        open_plate(seal_plate(broken, PLACE, INBOX), PLACE, INBOX, now_ms=NOW_MS)


def test_a_confirmation_beyond_what_an_invite_needs_is_refused():
    with pytest.raises(ProtocolViolation, match="too long"):
        open_spoken_reply(seal_spoken_reply(Reply(confirmation=bytes(INVITE_CHARS + 257)), WORD), KEY, WORD.inbox)


def test_the_transcript_is_of_every_part_but_the_confirmation():
    whole = transcript_of(PLATE, WORD, b"place")
    others = [transcript_of(PLATE, WORD, b"elsewhere")]
    for name in ("message", "inbox", "key"):
        others.append(transcript_of(msgspec.structs.replace(PLATE, **{name: b"x"}), WORD, b"place"))
        others.append(transcript_of(PLATE, msgspec.structs.replace(WORD, **{name: b"x"}), b"place"))
    assert whole not in others
    assert len(set(others)) == len(others)
    assert transcript_of(PLATE, msgspec.structs.replace(WORD, confirmation=b""), b"place") == whole


def test_places_of_numbers_are_no_invites_and_each_its_own():
    places = {derive_nameplate(number).inbox("a").public for number in range(1, 20)}
    assert len(places) == 19
    assert derive_invitation(bytes(16), PeerId(bytes(32))).inbox("a").public not in places

"""A note: who can open it, who can't make one, and that it looks the same whatever it says."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.envelope import EnvelopeKey, seal_envelope
from backuppeer.crypto.identity import Purpose, SigningKey, verify_signature
from backuppeer.errors import AuthenticationFault, IntegrityFault, LocalError, PeerFault, ProtocolViolation
from backuppeer.limits import NOTE_BYTES, NOTE_SERVERS, SERVER_URL_CHARS, SIGNED_BYTES
from backuppeer.signaling import note
from backuppeer.signaling.note import PLAIN_BYTES, Note, deposit_blob, open_note, seal_note, sign_deposit
from signaling.kit import NOW_MS, flip_each

HOST, OTHER = SigningKey.from_seed(b"h" * 32), SigningKey.from_seed(b"o" * 32)
SLOT = EnvelopeKey.from_private_bytes(b"s" * 96)
INBOX = SigningKey.from_seed(b"i" * 32)
PLAIN = Note(host=HOST.public, agreement=b"agreement", binding=b"binding", servers=["wss://a.example"], time_ms=NOW_MS)
FULL = msgspec.structs.replace(PLAIN, head=b"head" * 80, grant=b"grant" * 40, receipt=b"receipt" * 30)


def seal(said=FULL, host=HOST, inbox=INBOX):
    return seal_note(said, host, key=SLOT.public, inbox=inbox.public)


def sealed_blob(blob, key=HOST, purpose=Purpose.RECOVERY_NOTE, padding=b""):
    signed = len(blob).to_bytes(4, "big") + blob + key.sign(purpose, blob) + padding
    return seal_envelope(SLOT.public, signed.ljust(PLAIN_BYTES, b"\0"), note._LABEL + INBOX.public)


def test_a_note_says_to_its_owner_what_the_host_wrote():
    assert open_note(seal(), SLOT, inbox=INBOX.public) == FULL
    assert open_note(seal(PLAIN), SLOT, inbox=INBOX.public) == PLAIN


def test_notes_of_any_content_have_one_size_and_no_part_in_the_clear_is_the_same_twice():
    sizes = {len(seal(said)) for said in (PLAIN, FULL, msgspec.structs.replace(PLAIN, servers=[]))}
    assert sizes == {NOTE_BYTES}
    once, again = seal(), seal()
    alike = sum(a == b for a, b in zip(once, again, strict=True))
    assert alike < NOTE_BYTES // 64, "a header that names the key would link all inboxes of a slot"
    assert SLOT.public[:32] not in once
    assert INBOX.public not in once


def test_a_note_opens_neither_with_another_slot_nor_in_another_inbox():
    with pytest.raises(IntegrityFault):
        open_note(seal(), EnvelopeKey.generate(), inbox=INBOX.public)
    with pytest.raises(IntegrityFault):
        open_note(seal(), SLOT, inbox=OTHER.public)


def test_every_altered_region_of_a_note_is_refused():
    for altered in flip_each(seal(), 97):
        with pytest.raises(PeerFault):
            open_note(altered, SLOT, inbox=INBOX.public)


def test_nobody_writes_a_note_in_the_name_of_a_host():
    blob = msgspec.msgpack.encode(FULL)
    assert open_note(sealed_blob(blob), SLOT, inbox=INBOX.public) == FULL
    for key, purpose in ((OTHER, Purpose.RECOVERY_NOTE), (HOST, Purpose.KNOCK_REPLY)):
        with pytest.raises(AuthenticationFault):
            open_note(sealed_blob(blob, key, purpose), SLOT, inbox=INBOX.public)
    with pytest.raises(LocalError):
        seal(host=OTHER)


def test_servers_are_left_out_from_the_end_where_they_do_not_fit():
    long = [f"wss://{letter * (SERVER_URL_CHARS - 6)}" for letter in "abcd"]
    said = msgspec.structs.replace(FULL, agreement=b"a" * SIGNED_BYTES, servers=long)
    opened = open_note(seal(said), SLOT, inbox=INBOX.public)
    assert 0 < len(opened.servers) < NOTE_SERVERS
    assert opened.servers == long[: len(opened.servers)]
    with pytest.raises(LocalError):
        seal(msgspec.structs.replace(said, head=b"h" * SIGNED_BYTES))


@pytest.mark.parametrize(
    "changes",
    [
        {"host": b"short"},
        {"agreement": b""},
        {"binding": b""},
        {"agreement": b"a" * (SIGNED_BYTES + 1)},
        {"receipt": b""},
        {"grant": b""},
        {"servers": ["wss://a.example"] * (NOTE_SERVERS + 1)},
        {"servers": ["http://a.example"]},
        {"time_ms": -1},
        {"time_ms": 1 << 63},
    ],
    ids=str,
)
def test_a_note_outside_its_rules_is_refused_on_both_sides(changes):
    broken = msgspec.structs.replace(FULL, **changes)
    with pytest.raises(LocalError):
        seal(broken, HOST if broken.host == HOST.public else SigningKey.generate())
    with pytest.raises(ProtocolViolation):
        open_note(sealed_blob(msgspec.msgpack.encode(broken)), SLOT, inbox=INBOX.public)


def test_another_version_is_refused_by_name_and_an_unknown_field_is_refused():
    body = msgspec.msgpack.decode(msgspec.msgpack.encode(FULL))
    with pytest.raises(ProtocolViolation, match="version 2"):
        open_note(sealed_blob(msgspec.msgpack.encode({**body, "v": 2})), SLOT, inbox=INBOX.public)
    with pytest.raises(ProtocolViolation):
        open_note(sealed_blob(msgspec.msgpack.encode({**body, "more": 1})), SLOT, inbox=INBOX.public)


def test_padding_that_is_not_zero_and_another_length_are_refused():
    with pytest.raises(ProtocolViolation, match="padding"):
        open_note(sealed_blob(msgspec.msgpack.encode(FULL), padding=b"\1"), SLOT, inbox=INBOX.public)
    for other in (seal()[:-1], seal() + b"\0", b""):
        with pytest.raises(ProtocolViolation, match="length"):
            open_note(other, SLOT, inbox=INBOX.public)


@given(st.binary(max_size=300))
def test_what_is_well_signed_and_well_sealed_is_a_note_or_the_fault_of_its_host(blob):
    with pytest.raises(PeerFault):
        open_note(sealed_blob(blob), SLOT, inbox=INBOX.public)


def test_a_deposit_is_signed_for_its_inbox_number_and_note():
    left = sign_deposit(INBOX, 7, b"sealed")
    assert (left.inbox, left.number, left.sealed) == (INBOX.public, 7, b"sealed")
    verify_signature(INBOX.public, Purpose.RECOVERY_DEPOSIT, deposit_blob(INBOX.public, 7, b"sealed"), left.signature)
    for blob in (
        deposit_blob(OTHER.public, 7, b"sealed"),
        deposit_blob(INBOX.public, 8, b"sealed"),
        deposit_blob(INBOX.public, 7, b"other"),
    ):
        with pytest.raises(AuthenticationFault):
            verify_signature(INBOX.public, Purpose.RECOVERY_DEPOSIT, blob, left.signature)

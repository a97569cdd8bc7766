"""Recovery slots: what is handed to hosts, and what can't be told from it."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.envelope import EnvelopeKey, seal_envelope
from backuppeer.crypto.keys import derive_working
from backuppeer.crypto.recovery import QUARTER_S, derive_inbox, derive_slot, quarter_of
from backuppeer.errors import IntegrityFault, LocalError
from backuppeer.limits import NOTE_KEPT_S, RECOVERY_SLOTS
from crypto.test_keys import reference_hkdf

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "recovery.json").read_text())["slots"]
WORKING = derive_working(bytes(range(32)), 1)
SERVER = "signaling.example:8443"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: str(v["slot"]))
def test_slot_and_inbox_are_those_of_the_vector(vector):
    slot = derive_slot(derive_working(bytes.fromhex(vector["master"]), vector["generation"]), vector["slot"])
    inbox = derive_inbox(slot.seed, vector["server"], vector["quarter"])
    assert slot.seed.hex() == vector["seed"]
    assert slot.opener.private_bytes().hex() == vector["note_private"]
    assert slot.opener.public[-32:].hex() == vector["note_public_x25519"]
    assert (inbox.seed().hex(), inbox.public.hex()) == (vector["inbox_seed"], vector["inbox"])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: str(v["slot"]))
def test_the_vector_follows_from_the_specification_alone(vector):
    info = b"backuppeer/v1/working\0" + vector["generation"].to_bytes(4, "big")
    working = reference_hkdf(bytes.fromhex(vector["master"]), b"", info, 32)
    number = bytes([vector["slot"]])
    seed = reference_hkdf(working, b"", b"backuppeer/v1/recovery-slot\0" + number, 32)
    assert seed.hex() == vector["seed"]
    private = reference_hkdf(working, b"", b"backuppeer/v1/recovery-note\0" + number, 96)
    assert private.hex() == vector["note_private"]
    info = b"backuppeer/v1/recovery-inbox\0" + vector["quarter"].to_bytes(4, "big") + vector["server"].encode()
    assert reference_hkdf(seed, b"", info, 32).hex() == vector["inbox_seed"]


def test_each_slot_server_quarter_and_generation_has_an_inbox_of_its_own():
    seeds = [derive_slot(WORKING, number).seed for number in range(RECOVERY_SLOTS)]
    seeds.append(derive_slot(derive_working(bytes(range(32)), 2), 0).seed)
    servers = (SERVER, "signaling.example", "other.example:8443")
    inboxes = {derive_inbox(seed, server, quarter).public for seed in seeds for server in servers for quarter in (1, 2)}
    assert len(inboxes) == len(seeds) * len(servers) * 2


def test_a_note_is_opened_by_the_owner_alone_not_with_what_the_host_was_given():
    mine, other = derive_slot(WORKING, 3), derive_slot(WORKING, 4)
    sealed = seal_envelope(mine.opener.public, b"note", b"info")
    assert derive_slot(WORKING, 3).opener.open(sealed, b"info") == b"note"
    stretched = hashlib.shake_256(mine.seed).digest(96)
    for key in (other.opener, EnvelopeKey.from_private_bytes(stretched), EnvelopeKey.from_private_bytes(mine.seed * 3)):
        with pytest.raises(IntegrityFault):
            key.open(sealed, b"info")


@given(st.integers(0, 2**42), st.integers(0, NOTE_KEPT_S * 1000 - 1))
def test_what_a_server_still_keeps_was_left_in_this_quarter_or_the_one_before(left_ms, age_ms):
    assert quarter_of(left_ms + age_ms) - quarter_of(left_ms) in {0, 1}


def test_a_quarter_is_ninety_one_days():
    assert quarter_of(0) == 0
    assert quarter_of(QUARTER_S * 1000 - 1) == 0
    assert quarter_of(QUARTER_S * 1000) == 1
    assert QUARTER_S == 91 * 24 * 3600


def test_what_is_no_slot_seed_or_quarter_is_refused():
    for number in (-1, RECOVERY_SLOTS):
        with pytest.raises(LocalError):
            derive_slot(WORKING, number)
    for seed, quarter in ((bytes(31), 0), (bytes(32), -1), (bytes(32), 2**32)):
        with pytest.raises(LocalError):
            derive_inbox(seed, SERVER, quarter)


def test_a_slot_shows_no_secret():
    slot = derive_slot(WORKING, 0)
    shown = f"{slot!r} {slot}"
    assert not any(repr(secret) in shown for secret in (slot.seed, slot.opener.private_bytes()))

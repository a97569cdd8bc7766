import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer import limits
from backuppeer.errors import DamagedStateError, ProtocolViolation, RefusedError
from backuppeer.signaling.nonces import NonceMemory
from signaling.kit import HOUR_MS, NOW_MS

EXPIRY_MS = NOW_MS + HOUR_MS


def test_a_nonce_is_heard_once():
    memory = NonceMemory()
    memory.remember(b"a" * 16, EXPIRY_MS, now_ms=NOW_MS)
    with pytest.raises(ProtocolViolation, match="replayed"):
        memory.remember(b"a" * 16, EXPIRY_MS, now_ms=NOW_MS)


def test_a_replay_is_refused_as_long_as_the_knock_could_open():
    memory = NonceMemory()
    memory.remember(b"a" * 16, EXPIRY_MS, now_ms=NOW_MS)
    memory.forget_expired(EXPIRY_MS + 2 * HOUR_MS - 1)
    with pytest.raises(ProtocolViolation):
        memory.remember(b"a" * 16, EXPIRY_MS, now_ms=NOW_MS)
    memory.forget_expired(EXPIRY_MS + 2 * HOUR_MS)
    assert len(memory) == 0


def test_a_full_memory_refuses_new_knocks_and_forgets_none():
    memory = NonceMemory(capacity=2)
    memory.remember(b"a" * 16, EXPIRY_MS, now_ms=NOW_MS)
    memory.remember(b"b" * 16, EXPIRY_MS, now_ms=NOW_MS)
    with pytest.raises(RefusedError):
        memory.remember(b"c" * 16, EXPIRY_MS, now_ms=NOW_MS)
    with pytest.raises(ProtocolViolation):
        memory.remember(b"a" * 16, EXPIRY_MS, now_ms=NOW_MS)


def test_a_full_memory_makes_room_by_what_expired():
    memory = NonceMemory(capacity=1)
    memory.remember(b"a" * 16, EXPIRY_MS, now_ms=NOW_MS)
    later_ms = EXPIRY_MS + 2 * HOUR_MS
    memory.remember(b"b" * 16, later_ms + HOUR_MS, now_ms=later_ms)
    assert len(memory) == 1


@given(st.dictionaries(st.binary(min_size=16, max_size=16), st.integers(0, 1 << 50), max_size=20))
def test_what_is_exported_is_imported(rows):
    memory = NonceMemory()
    for nonce, expires_ms in rows.items():
        memory.remember(nonce, expires_ms, now_ms=NOW_MS)
    again = NonceMemory.import_bytes(memory.export_bytes())
    assert again.export_bytes() == memory.export_bytes()
    for nonce in rows:
        with pytest.raises(ProtocolViolation):
            again.remember(nonce, EXPIRY_MS, now_ms=NOW_MS)


def test_a_memory_holds_only_so_many_nonces():
    full = NonceMemory.import_bytes(rows(limits.KNOCK_NONCES))
    with pytest.raises(RefusedError):
        full.remember(b"new".ljust(16), EXPIRY_MS, now_ms=NOW_MS)
    with pytest.raises(DamagedStateError):
        NonceMemory.import_bytes(rows(limits.KNOCK_NONCES + 1))
    fresh = NonceMemory()
    fresh._until_ms = dict(full._until_ms)
    with pytest.raises(RefusedError):
        fresh.remember(b"new".ljust(16), EXPIRY_MS, now_ms=NOW_MS)


def rows(count):
    expiry = (EXPIRY_MS + 2 * HOUR_MS).to_bytes(8, "big")
    return b"BPNONCE\x01" + b"".join(n.to_bytes(16, "big") + expiry for n in range(count))


@pytest.mark.parametrize("data", [b"", b"BPNONCE\x02", b"BPNONCE\x01x", b"BPNONCE\x01" + b"x" * 72])
def test_damaged_bytes_are_not_taken_for_an_empty_memory(data):
    with pytest.raises(DamagedStateError):
        NonceMemory.import_bytes(data, capacity=2)

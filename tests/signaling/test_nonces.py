import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer import limits
from backuppeer.errors import ProtocolViolation, RefusedError
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
def test_rows_kept_are_remembered(rows):
    memory = NonceMemory()
    kept = {nonce: memory.remember(nonce, expires, now_ms=NOW_MS) for nonce, expires in rows.items()}
    assert kept == {nonce: expires + 2 * HOUR_MS for nonce, expires in rows.items()}
    again = NonceMemory(kept)
    for nonce in rows:
        with pytest.raises(ProtocolViolation):
            again.remember(nonce, EXPIRY_MS, now_ms=NOW_MS)


def test_a_memory_holds_only_so_many_nonces_and_a_part_of_it_only_partners_nonces():
    for_strangers = limits.KNOCK_NONCES - limits.KNOCK_NONCES * limits.PARTNER_NONCES_PERMILLE // 1000
    full = NonceMemory({number.to_bytes(16, "big"): EXPIRY_MS for number in range(for_strangers)})
    with pytest.raises(RefusedError):
        full.remember(b"new".ljust(16), EXPIRY_MS, now_ms=NOW_MS)
    full.remember(b"new".ljust(16), EXPIRY_MS, now_ms=NOW_MS, is_partner=True)
    full = NonceMemory({number.to_bytes(16, "big"): EXPIRY_MS for number in range(limits.KNOCK_NONCES)})
    with pytest.raises(RefusedError):
        full.remember(b"new".ljust(16), EXPIRY_MS, now_ms=NOW_MS, is_partner=True)

"""Sealing slots of a pack copy."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.seal import TAG_BYTES, Opener, Sealer, Suite, plan_suite, preferred_suite, suite_from_byte
from backuppeer.errors import IntegrityFault, LocalError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "seal.json").read_text())
KEY, HEADER = bytes(range(32)), bytes(range(64))
suites = pytest.mark.parametrize("suite", list(Suite))
slots = st.integers(0, 2**32 - 1)


def seal(plain: bytes, *, suite: Suite, slot: int = 0, key: bytes = KEY, header: bytes = HEADER) -> bytes:
    out = bytearray(len(plain) + TAG_BYTES)
    assert Sealer(key, suite, header).seal_into(slot, plain, memoryview(out)) == len(out)
    return bytes(out)


@pytest.mark.parametrize("vector", VECTORS["slots"], ids=lambda v: f"{v['suite']}-{v['slot']}")
def test_sealed_slot_is_that_of_the_vector(vector):
    key, header, plain, sealed = (bytes.fromhex(vector[name]) for name in ("key", "header", "plain", "sealed"))
    suite, slot = Suite(vector["suite"]), vector["slot"]
    assert seal(plain, suite=suite, slot=slot, key=key, header=header) == sealed
    assert Opener(key, suite, header).open(slot, sealed) == plain


@given(suite=st.sampled_from(Suite), slot=slots, plain=st.binary(max_size=100), header=st.binary(max_size=80))
def test_nonce_and_associated_data_are_those_of_the_specification(suite, slot, plain, header):
    cipher = {Suite.AES_256_GCM: AESGCM, Suite.CHACHA20_POLY1305: ChaCha20Poly1305}[suite](KEY)
    number = slot.to_bytes(4, "big")
    assert seal(plain, suite=suite, slot=slot, header=header) == cipher.encrypt(
        bytes(8) + number, plain, header + number
    )


@given(
    suite=st.sampled_from(Suite),
    slot=slots,
    plain=st.binary(max_size=300),
    wrap=st.sampled_from([bytes, bytearray, memoryview]),
)
def test_what_is_sealed_opens_again_both_ways(suite, slot, plain, wrap):
    sealed = wrap(seal(wrap(plain), suite=suite, slot=slot))
    opener = Opener(KEY, suite, HEADER)
    assert opener.open(slot, sealed) == plain
    out = bytearray(b"x" * (len(plain) + 3))
    assert opener.open_into(slot, sealed, memoryview(out)) == len(plain)
    assert out == plain + b"xxx"


@suites
def test_sealing_writes_only_its_own_bytes(suite):
    out = bytearray(b"x" * 40)
    view = memoryview(out)[4:]
    assert Sealer(KEY, suite, HEADER).seal_into(1, b"plain", view) == 21
    assert out[:4] == b"xxxx"
    assert out[25:] == b"x" * 15
    assert Opener(KEY, suite, HEADER).open(1, out[4:25]) == b"plain"


@suites
def test_slot_is_never_sealed_twice(suite):
    sealer = Sealer(KEY, suite, HEADER)
    out = memoryview(bytearray(32))
    sealer.seal_into(7, b"one", out)
    sealer.seal_into(8, b"one", out)
    before = bytes(out)
    with pytest.raises(LocalError, match="slot 7"):
        sealer.seal_into(7, b"two", out)
    assert out == before


@suites
def test_slot_stays_used_when_sealing_it_fails(suite):
    sealer = Sealer(KEY, suite, HEADER)
    with pytest.raises((TypeError, ValueError, BufferError)):
        sealer.seal_into(7, b"one", memoryview(bytes(32)))  # read-only
    with pytest.raises(LocalError, match="sealed already"):
        sealer.seal_into(7, b"one", memoryview(bytearray(32)))


def test_threads_that_share_a_sealer_seal_each_slot_once():
    sealer = Sealer(KEY, Suite.CHACHA20_POLY1305, HEADER)

    def try_slot(slot: int) -> int:
        try:
            return sealer.seal_into(slot, b"", memoryview(bytearray(16)))
        except LocalError:
            return 0

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(try_slot, [*range(50)] * 4)) == 50 * 16


@suites
@pytest.mark.parametrize("slot", [-1, 2**32])
def test_slot_that_is_no_u32_is_refused(suite, slot):
    with pytest.raises(LocalError):
        Sealer(KEY, suite, HEADER).seal_into(slot, b"", memoryview(bytearray(16)))
    with pytest.raises(LocalError):
        Opener(KEY, suite, HEADER).open(slot, bytes(16))


@suites
def test_buffers_that_are_too_short_are_refused_and_use_no_slot(suite):
    sealer = Sealer(KEY, suite, HEADER)
    with pytest.raises(LocalError):
        sealer.seal_into(0, b"plain", memoryview(bytearray(20)))
    sealed = bytearray(21)
    sealer.seal_into(0, b"plain", memoryview(sealed))
    with pytest.raises(LocalError):
        Opener(KEY, suite, HEADER).open_into(0, sealed, memoryview(bytearray(4)))


@suites
@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_key_of_another_length_is_refused(suite, length):
    with pytest.raises(LocalError):
        Sealer(bytes(length), suite, HEADER)
    with pytest.raises(LocalError):
        Opener(bytes(length), suite, HEADER)


def assert_refused(sealed, *, suite, slot=5, key=KEY, header=HEADER):
    """Both ways refuse, and no byte of the secret plaintext reaches the caller's buffer."""
    opener = Opener(key, suite, header)
    with pytest.raises(IntegrityFault):
        opener.open(slot, sealed)
    size = max(len(sealed) - TAG_BYTES, 0)
    out = bytearray(b"x" * (size + 3))
    with pytest.raises(IntegrityFault):
        opener.open_into(slot, sealed, memoryview(out))
    wiped = out == bytes(size) + b"xxx"
    assert wiped or not size


@given(suite=st.sampled_from(Suite), plain=st.binary(min_size=1, max_size=60), data=st.data())
def test_flipped_bit_is_refused_and_leaves_nothing_behind(suite, plain, data):
    sealed = bytearray(seal(plain, suite=suite, slot=5))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    assert_refused(bytes(sealed), suite=suite)


@suites
def test_other_slot_header_key_or_suite_is_refused(suite):
    sealed = seal(b"secret plain text", suite=suite, slot=5)
    other = next(s for s in Suite if s is not suite)
    assert_refused(sealed, suite=suite, slot=6)
    assert_refused(sealed, suite=suite, header=HEADER[:-1])
    assert_refused(sealed, suite=suite, header=b"\1" + HEADER[1:])
    assert_refused(sealed, suite=suite, key=bytes(32))
    assert_refused(sealed, suite=other)


@suites
@pytest.mark.parametrize("cut", [*range(18)])
def test_shortened_and_lengthened_slots_are_refused(suite, cut):
    sealed = seal(b"!", suite=suite, slot=5)
    if cut < len(sealed):
        assert_refused(sealed[:cut], suite=suite)
    else:
        assert_refused(sealed + b"\0", suite=suite)


@suites
def test_wrong_tag_wipes_a_large_buffer(suite):
    sealed = bytearray(seal(b"secret" * 50_000, suite=suite, slot=5))
    sealed[-1] ^= 1
    out = bytearray(b"x" * 300_000)
    with pytest.raises(IntegrityFault):
        Opener(KEY, suite, HEADER).open_into(5, sealed, memoryview(out))
    assert not any(out)


@given(suite=st.sampled_from(Suite), sealed=st.binary(max_size=80))
def test_random_bytes_are_refused(suite, sealed):
    assert_refused(sealed, suite=suite)


def test_suite_bytes_are_those_of_the_format():
    assert [suite_from_byte(value) for value in (1, 2)] == [Suite.AES_256_GCM, Suite.CHACHA20_POLY1305]


@pytest.mark.parametrize("value", [0, 3, 255])
def test_unknown_suite_byte_is_refused(value):
    with pytest.raises(IntegrityFault, match=str(value)):
        suite_from_byte(value)


@pytest.mark.parametrize(
    ("cpuinfo", "system", "machine", "suite"),
    [
        ("processor : 0\nflags\t\t: fpu aes avx\n", "Linux", "x86_64", Suite.AES_256_GCM),
        ("processor : 0\nflags\t\t: fpu vaes avx\n", "Linux", "x86_64", Suite.CHACHA20_POLY1305),
        ("processor : 0\nFeatures\t: fp asimd aes sha2\n", "Linux", "aarch64", Suite.AES_256_GCM),
        ("processor : 0\nFeatures\t: fp asimd\n", "Linux", "aarch64", Suite.CHACHA20_POLY1305),
        ("", "Linux", "riscv64", Suite.CHACHA20_POLY1305),
        ("", "Darwin", "arm64", Suite.AES_256_GCM),
        ("", "Windows", "AMD64", Suite.AES_256_GCM),
        ("", "Windows", "ARM64", Suite.CHACHA20_POLY1305),
    ],
)
def test_suite_follows_the_processor(cpuinfo, system, machine, suite):
    assert plan_suite(cpuinfo, system, machine) is suite


def test_this_machine_has_a_suite():
    assert preferred_suite() in Suite


def test_representations_show_no_key():
    shown = repr(Sealer(KEY, Suite.AES_256_GCM, HEADER)) + repr(Opener(KEY, Suite.AES_256_GCM, HEADER))
    assert KEY.hex() not in shown
    assert repr(KEY) not in shown

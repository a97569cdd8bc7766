"""AEAD over the slots of one pack copy.

Knows: the two suites, nonces, additional data. Must not know: what a slot holds, how keys come about.

Why a counter is enough for a nonce: the key belongs to one copy of one pack alone (its salt is fresh and random,
`RepositoryKeys.pack_key`), and a `Sealer` lives for that copy alone and refuses to seal a slot twice. So no pair of key
and nonce is ever used for two plaintexts.

nonce (12 bytes) = 8 zero bytes ‖ u32be(slot); additional data = whole clear header ‖ u32be(slot).
"""

import functools
import platform
from enum import IntEnum
from pathlib import Path
from threading import Lock
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from backuppeer.crypto.digest import Buffer
from backuppeer.errors import IntegrityFault, LocalError

TAG_BYTES: Final = 16
SEAL_KEY_BYTES: Final = 32
_SLOTS: Final = 2**32
_CPUINFO: Final = Path("/proc/cpuinfo")


class Suite(IntEnum):
    """The AEADs of format v1; the value is the suite byte of a pack header."""

    AES_256_GCM = 1
    CHACHA20_POLY1305 = 2


def suite_from_byte(value: int) -> Suite:
    """Return the suite that a header byte names.

    Raises:
        IntegrityFault: no suite of format v1 has this number.

    """
    try:
        return Suite(value)
    except ValueError as exc:
        raise IntegrityFault(f"unknown cipher suite {value}") from exc


@functools.cache
def preferred_suite() -> Suite:
    """Return AES-256-GCM where the processor computes AES itself, else ChaCha20-Poly1305."""
    try:
        cpuinfo = _CPUINFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        cpuinfo = ""
    return plan_suite(cpuinfo, platform.system(), platform.machine())


def plan_suite(cpuinfo: str, system: str, machine: str) -> Suite:
    """Choose a suite from the text of /proc/cpuinfo ("" where there is none), or else from the platform's name.

    Without hardware AES, GCM is slow, and its table look-ups leak through the cache; so "unknown" means ChaCha. Every
    64-bit Mac and every 64-bit x86 that runs a supported Windows has the instructions.
    """
    flag_lines = [line for line in cpuinfo.splitlines() if line.lower().startswith(("flags", "features"))]
    if flag_lines:
        return Suite.AES_256_GCM if "aes" in flag_lines[0].split() else Suite.CHACHA20_POLY1305
    known = {("Darwin", "arm64"), ("Darwin", "x86_64"), ("Windows", "AMD64")}
    return Suite.AES_256_GCM if (system, machine) in known else Suite.CHACHA20_POLY1305


class Sealer:
    """Seals the slots of one pack copy. key: 32 bytes, for this copy alone; header: its whole clear header."""

    __slots__ = ("_cipher", "_header", "_lock", "_used")

    def __init__(self, key: bytes, suite: Suite, header: bytes) -> None:
        self._cipher = _load_cipher(key, suite)
        self._header = header
        self._used: set[int] = set()
        self._lock = Lock()

    def seal_into(self, slot: int, plain: Buffer, out: memoryview) -> int:
        """Seal `plain` into the start of `out`; return the bytes written, `len(plain) + 16`.

        `out` belongs to the caller, is at least that long and does not overlap `plain`; bytes beyond stay as they are.

        Raises:
            LocalError: the slot was used before, is not a u32, or `out` is too short.

        """
        sealed_bytes = len(plain) + TAG_BYTES
        if len(out) < sealed_bytes:
            raise LocalError(f"{sealed_bytes} sealed bytes do not fit into {len(out)}")
        nonce, associated = _bind_slot(self._header, slot)
        self._claim(slot)
        return self._cipher.encrypt_into(nonce, plain, associated, out[:sealed_bytes])

    def _claim(self, slot: int) -> None:
        # Claimed before it is used and never given back, under a lock: a nonce can't come twice, not even when sealing
        # fails half-way or two threads share the sealer by mistake.
        with self._lock:
            if slot in self._used:
                raise LocalError(f"slot {slot} of this pack is sealed already")
            self._used.add(slot)

    def __repr__(self) -> str:
        return f"<Sealer, {len(self._used)} slots used>"


class Opener:
    """Opens the slots of one pack copy. key: 32 bytes; header: the whole clear header as it was read."""

    __slots__ = ("_cipher", "_header")

    def __init__(self, key: bytes, suite: Suite, header: bytes) -> None:
        self._cipher = _load_cipher(key, suite)
        self._header = header

    def open(self, slot: int, sealed: Buffer) -> bytes:
        """Return the plaintext of a slot, `len(sealed) - 16` bytes.

        Raises:
            IntegrityFault: key, suite, header, slot or bytes are not those it was sealed with.
            LocalError: the slot is not a u32.

        """
        nonce, associated = _bind_slot(self._header, slot)
        try:
            return self._cipher.decrypt(nonce, sealed, associated)
        except InvalidTag as exc:
            raise _refuse(slot) from exc

    def open_into(self, slot: int, sealed: Buffer, out: memoryview) -> int:
        """Open a slot into the start of `out`; return the bytes written, `len(sealed) - 16`.

        `out` belongs to the caller, is at least that long and does not overlap `sealed`. When opening fails, the part
        that would have held the plaintext is zero.

        Raises:
            IntegrityFault: as `open`.
            LocalError: the slot is not a u32, or `out` is too short.

        """
        plain_bytes = len(sealed) - TAG_BYTES
        if plain_bytes < 0:
            raise _refuse(slot)
        if len(out) < plain_bytes:
            raise LocalError(f"{plain_bytes} plain bytes do not fit into {len(out)}")
        nonce, associated = _bind_slot(self._header, slot)
        target = out[:plain_bytes]
        try:
            return self._cipher.decrypt_into(nonce, sealed, associated, target)
        except InvalidTag as exc:
            # The library decrypts before it compares the tag and leaves what it wrote (seen with cryptography 50):
            # unauthenticated bytes would stay in the caller's buffer.
            target[:] = bytes(plain_bytes)
            raise _refuse(slot) from exc

    def __repr__(self) -> str:
        return "<Opener>"


def _load_cipher(key: bytes, suite: Suite) -> AESGCM | ChaCha20Poly1305:
    if len(key) != SEAL_KEY_BYTES:
        raise LocalError(f"a sealing key has {SEAL_KEY_BYTES} bytes, not {len(key)}")
    return AESGCM(key) if suite is Suite.AES_256_GCM else ChaCha20Poly1305(key)


def _bind_slot(header: bytes, slot: int) -> tuple[bytes, bytes]:
    if not 0 <= slot < _SLOTS:
        raise LocalError(f"slot {slot} is not a u32")
    counter = slot.to_bytes(4, "big")
    return bytes(8) + counter, header + counter


def _refuse(slot: int) -> IntegrityFault:
    return IntegrityFault(f"slot {slot} of a pack is not what was sealed")

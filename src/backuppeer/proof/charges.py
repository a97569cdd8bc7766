"""Files that accuse a host, and files that answer: whatever a judge needs who knows neither of the two.

Knows: the two formats, their caps. Must not know: what is proven (`misbehaviour`), where files lie. No IO.

    proof     = "BPPROOF" ‖ 0x01 ‖ msgpack map: "charge", then the fields in the order of the class
    rebuttal  = "BPREPLY" ‖ 0x01 ‖ msgpack map: "removals", "agreements"
              | "BPREPLY" ‖ 0x02 ‖ msgpack map: "removals", "agreements", "endings"; only if there are endings

As with statements there is one encoding, and every other is refused. Nothing in such a file is secret, and nothing is
true before it is judged: anybody can write one.
"""

from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from backuppeer.crypto.digest import Buffer
from backuppeer.errors import LocalError, ProtocolViolation
from backuppeer.ids import StoredId
from backuppeer.limits import (
    ACK_PACKS,
    AUDIT_SAMPLE_LEAVES,
    AUDIT_SAMPLES,
    LEAF_BYTES,
    PROOF_BYTES,
    PROOF_PATH_NODES,
    PROOF_REVISIONS,
    REBUTTAL_ENDINGS,
    REBUTTAL_REMOVALS,
    REMOVAL_PACKS,
    SIGNED_BYTES,
)
from backuppeer.proof.audits import Shown
from backuppeer.proof.statements import Count, Hash

_PROOF: Final = b"BPPROOF\x01"
_REBUTTAL: Final = b"BPREPLY\x01"
_REBUTTAL_WITH_ENDINGS: Final = b"BPREPLY\x02"
# RecursionError: of msgspec, for arrays nested some thousand deep. UnicodeDecodeError: for names that are no text.
_MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_STORED_BYTES: Final = 32
Signed = Annotated[bytes, Meta(min_length=1, max_length=SIGNED_BYTES)]
Stored = Annotated[StoredId, Meta(min_length=_STORED_BYTES, max_length=_STORED_BYTES)]
Packs = Annotated[list[Stored], Meta(min_length=1, max_length=ACK_PACKS)]


class Charge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="charge"):
    """Base of all: revisions of the agreement (ascending), a head, who may write it, and the host's countersignature.

    Each statement is the signed bytes as they came. Every revision that a statement names is among `agreements`.
    """

    agreements: Annotated[list[Signed], Meta(min_length=1, max_length=PROOF_REVISIONS)]
    head: Signed
    grant: Signed
    receipt: Signed


class PackCharge(Charge, frozen=True, kw_only=True):
    """Base of those about a pack: the host acknowledged it, with `acked`, before it countersigned the head."""

    ack: Signed
    acked: Packs


class WrongAnswer(PackCharge, frozen=True, kw_only=True, tag="wrong-answer"):
    """Asked for a range of the pack, the host signed other bytes. sample: its place in challenge and answer."""

    challenge: Signed
    answer: Signed
    sample: Annotated[int, Meta(ge=0, lt=AUDIT_SAMPLES)]
    length: Count
    path: Annotated[list[Hash], Meta(max_length=PROOF_PATH_NODES)]
    data: Annotated[bytes, Meta(max_length=AUDIT_SAMPLE_LEAVES * LEAF_BYTES)]

    @property
    def shown(self) -> Shown:
        """What the host showed."""
        return Shown(self.length, self.data, tuple(self.path))


class LostPack(PackCharge, frozen=True, kw_only=True, tag="lost-pack"):
    """The host signed that it lost the pack `stored`, which it acknowledged. lost: all packs of that report."""

    report: Signed
    lost: Packs
    stored: Stored


class OlderHead(Charge, frozen=True, kw_only=True, tag="older-head"):
    """Shown its countersignature, the host signed (`held`) that it holds an earlier head, another one or none."""

    held: Signed


class TwoHeads(Charge, frozen=True, kw_only=True, tag="two-heads"):
    """The host countersigned another head of the same number."""

    other_head: Signed
    other_grant: Signed
    other_receipt: Signed


AnyCharge = WrongAnswer | LostPack | OlderHead | TwoHeads


class ShownRemoval(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A request to delete or withdraw packs, as its owner signed it, and the packs beside it."""

    signed: Signed
    packs: Annotated[list[Stored], Meta(min_length=1, max_length=REMOVAL_PACKS)]


class _Plain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rebuttal without endings, as all were in the first version."""

    removals: Annotated[list[ShownRemoval], Meta(max_length=REBUTTAL_REMOVALS)] = []
    agreements: Annotated[list[Signed], Meta(max_length=PROOF_REVISIONS)] = []


class Rebuttal(_Plain, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a host answers: requests of the owner to remove the pack, or what shows that the agreement was over.

    agreements: later revisions; endings: the owner's notice, or the word of its 24 words that let it end early.
    """

    endings: Annotated[list[Signed], Meta(max_length=REBUTTAL_ENDINGS)] = []


_CHARGES: Final = msgspec.msgpack.Decoder(AnyCharge)
_PLAIN: Final = msgspec.msgpack.Decoder(_Plain)
_REBUTTALS: Final = msgspec.msgpack.Decoder(Rebuttal)


def pack_charge(charge: AnyCharge) -> bytes:
    """Return the file of a charge.

    Raises:
        LocalError: something in it is over its cap.

    """
    return _check(_PROOF + msgspec.msgpack.encode(charge), unpack_charge)


def unpack_charge(data: Buffer) -> AnyCharge:
    """Return the charge that a file makes; nothing in it is verified.

    Raises:
        ProtocolViolation: it is no such file, of a later version, or malformed.

    """
    body = _open(data, _PROOF, "proof of misbehaviour")
    try:
        charge: AnyCharge = _CHARGES.decode(body)
    except _MALFORMED as exc:
        raise ProtocolViolation("a proof of misbehaviour is damaged: it can't be read") from exc
    _require_one_encoding(charge, body)
    return charge


def pack_rebuttal(rebuttal: Rebuttal) -> bytes:
    """Return the file of a rebuttal.

    Raises:
        LocalError: something in it is over its cap.

    """
    if rebuttal.endings:
        return _check(_REBUTTAL_WITH_ENDINGS + msgspec.msgpack.encode(rebuttal), unpack_rebuttal)
    plain = _Plain(removals=rebuttal.removals, agreements=rebuttal.agreements)
    return _check(_REBUTTAL + msgspec.msgpack.encode(plain), unpack_rebuttal)


def unpack_rebuttal(data: Buffer) -> Rebuttal:
    """Return what a file answers; nothing in it is verified.

    Raises:
        ProtocolViolation: it is no such file, of a later version, or malformed.

    """
    has_endings = bytes(data[: len(_REBUTTAL_WITH_ENDINGS)]) == _REBUTTAL_WITH_ENDINGS
    body = _open(data, _REBUTTAL_WITH_ENDINGS if has_endings else _REBUTTAL, "rebuttal")
    try:
        said = (_REBUTTALS if has_endings else _PLAIN).decode(body)
    except _MALFORMED as exc:
        raise ProtocolViolation("a rebuttal is damaged: it can't be read") from exc
    _require_one_encoding(said, body)
    if isinstance(said, Rebuttal):
        if not said.endings:
            raise ProtocolViolation("the file is damaged: it is not the one encoding of what it says")
        return said
    return Rebuttal(removals=said.removals, agreements=said.agreements)


def _open(data: Buffer, magic: bytes, what: str) -> bytes:
    octets = bytes(data[: PROOF_BYTES + 1])
    name, version = magic[:-1], octets[len(magic) - 1 : len(magic)]
    if not octets.startswith(name):
        raise ProtocolViolation(f"this is no {what}")
    if version != magic[-1:]:
        raise ProtocolViolation(
            f"version {version[0] if version else 0} of a {what} is unknown", hint="a newer backup-peer may read it"
        )
    if len(octets) > PROOF_BYTES:
        raise ProtocolViolation(f"a {what} is longer than {PROOF_BYTES} bytes")
    return octets[len(magic) :]


def _require_one_encoding(value: msgspec.Struct, body: bytes) -> None:
    # One encoding: two files never say the same thing, and no byte of one can be changed unseen.
    if msgspec.msgpack.encode(value) != body:
        raise ProtocolViolation("the file is damaged: it is not the one encoding of what it says")


def _check(data: bytes, read: Callable[[bytes], object]) -> bytes:
    try:
        read(data)
    except ProtocolViolation as exc:
        raise LocalError(f"refused to write a file that can't be read: {exc.message}") from exc
    return data

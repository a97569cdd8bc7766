"""The messages of a session, but for those about audits and terms: fields of each (docs/protocol.md, "Messages").

Knows: shapes and sizes. Must not know: who may say what when (wire.table), signatures, streams. A message is a msgpack
map; fields that are not listed are ignored, so a later version may add some. All statements (`signed`, `head`, `grant`,
`receipt`, `binding`) are the exact signed bytes of proof.statements.
"""

from typing import Annotated, NamedTuple

from msgspec import Meta

from backuppeer.limits import (
    AGREEMENTS_PER_HELLO,
    HEAD_DRAFTS,
    LANE_CERTIFICATE_BYTES,
    LANE_TOKEN_BYTES,
    PACK_LIST_PAGE,
    PROGRAM_CHARS,
    RANGE_PATH_NODES,
    REMOVAL_PACKS,
)
from backuppeer.wire.codes import CloseCode, RefusalCode
from backuppeer.wire.fields import (
    LARGEST,
    Agreement,
    Certificate,
    Ext,
    Features,
    FirstLeaf,
    Hash,
    LeafCount,
    Message,
    Nonce,
    PackSize,
    Page,
    PartSize,
    Peer,
    Port,
    RemovalPacks,
    Signature,
    Signed,
    Size,
    Span,
    StoredHash,
    Text,
    TypeNumber,
    Version,
)

# --- control stream: handshake


class Challenge(Message, frozen=True, kw_only=True):
    """Acceptor → dialler, first of all: 32 random bytes. It says nothing about who the acceptor is."""

    nonce: Nonce


class Proof(Message, frozen=True, kw_only=True):
    """Dialler → acceptor: who I am, whom I expect, and a signature that only holds on this connection."""

    versions: tuple[Version, Version]
    """Lowest and highest protocol version the dialler speaks."""
    features: Features
    """Bit set of the dialler's features; unknown bits are ignored."""
    dialler: Peer
    acceptor: Peer
    nonce: Nonce
    signature: Signature


class Welcome(Message, frozen=True, kw_only=True):
    """Acceptor → dialler, only to a proven dialler that it answers: the acceptor's own proof."""

    versions: tuple[Version, Version]
    version: Version
    """The version this session speaks: the highest that both have."""
    features: Features
    signature: Signature


# --- control stream: session


class HeadState(NamedTuple):
    """The latest head held under an agreement: signed Head, and the signed WriterGrant it rests on."""

    agreement: Agreement
    head: Signed
    grant: Signed


class Hello(Message, frozen=True, kw_only=True):
    """Both, first after the handshake: what we have with each other."""

    agreements: Annotated[tuple[Signed, ...], Meta(max_length=AGREEMENTS_PER_HELLO)] = ()
    """Signed Agreements, latest revision of each."""
    heads: Annotated[tuple[HeadState, ...], Meta(max_length=AGREEMENTS_PER_HELLO)] = ()
    binding: Signed = b""
    """Signed TransportBinding of the sender, so that it can be dialled again without any server."""
    program: Annotated[str, Meta(max_length=PROGRAM_CHARS)] = ""
    succeeded: Signed = b""
    """The signed Succession by which another identity goes on in place of the receiver's; all else is empty then."""
    authority: Annotated[bytes, Meta(max_length=32)] = b""
    """The sender's own, for agreements in which it is the host (ADR 69)."""
    succession: Signed = b""
    """The signed Succession by which the sender, a host, goes on as another identity: who has an agreement follows."""


class Ping(Message, frozen=True, kw_only=True):
    """Asks for a sign of life; `number` comes back in Pong."""

    number: Size = 0


class Pong(Message, frozen=True, kw_only=True):
    """Answer to Ping."""

    number: Size = 0


class LaneWish(Message, frozen=True, kw_only=True):
    """Asks for a lane: the certificate that the asker will dial with. Answered by a LaneOffer, once."""

    certificate: Certificate


class LaneOffer(Message, frozen=True, kw_only=True):
    """Answer to LaneWish: where to dial within 30 s, whom to expect there, what to say first. Port 0: no lane now."""

    port: Port
    certificate: Annotated[bytes, Meta(max_length=LANE_CERTIFICATE_BYTES)] = b""
    token: Annotated[bytes, Meta(max_length=LANE_TOKEN_BYTES)] = b""


class Goodbye(Message, frozen=True, kw_only=True):
    """The sender closes after this; `reason` is a CloseCode."""

    reason: TypeNumber = CloseCode.DONE.value


class Unsupported(Message, frozen=True, kw_only=True):
    """Answer to a message whose type number is unknown here; on a request stream it ends the request."""

    type: TypeNumber


# --- request streams


class ProposeAgreement(Message, frozen=True, kw_only=True):
    """Opener: an Agreement signed by its owner (revision 1, or one more than the last); `device_sig` as DeletePacks."""

    signed: Signed
    device_sig: Annotated[bytes, Meta(max_length=64)] = b""


class Agreed(Message, frozen=True, kw_only=True):
    """Answer: the same Agreement, now with the host's signature too."""

    signed: Signed


class Pending(Message, frozen=True, kw_only=True):
    """Answer: a person must decide; ask again later. With a size: the person offers these terms instead (ADR 44)."""

    size_bytes: Size = 0
    term_s: Span = 0
    lock_s: Span = 0
    ext: Ext = {}  # noqa: RUF012 - msgspec copies it
    """What is promised beyond, as in `ext` of an agreement (ADR 51)."""


class Refused(Message, frozen=True, kw_only=True):
    """Answer: no. `code` is a RefusalCode; message and hint are the peer's words, to be escaped before showing."""

    code: TypeNumber = RefusalCode.POLICY.value
    message: Text = ""
    hint: Text = ""
    free_bytes: Size = 0


class PutPack(Message, frozen=True, kw_only=True):
    """Opener: store a pack of `size` bytes; the bytes follow raw after Proceed."""

    agreement: Agreement
    stored: StoredHash
    size: PackSize
    is_list: bool = False
    """It holds a changed list of snapshots or packs, and may take from the reserve of a full agreement (ADR 23)."""
    is_draft: bool = False
    """No head names it yet: until the next one is accepted, it can be withdrawn (ADR 31)."""
    resumes: bool = False
    """The host may ask for the rest alone, if it has the first bytes from a transfer that was cut (ADR 87)."""


class Proceed(Message, frozen=True, kw_only=True):
    """Answer to PutPack: room is reserved, send the bytes; all but the first `have`, which are here (ADR 87)."""

    have: PartSize = 0


class Stored(Message, frozen=True, kw_only=True):
    """Answer to PutPack: the pack is durable here, now or already before."""


class GetRange(Message, frozen=True, kw_only=True):
    """Opener: `leaves` leaves of 16 KiB of a pack, from leaf `first_leaf` on; those past the end don't count."""

    agreement: Agreement
    stored: StoredHash
    first_leaf: FirstLeaf
    leaves: LeafCount


class Range(Message, frozen=True, kw_only=True):
    """Answer to GetRange: the Merkle path, then `size` raw bytes follow."""

    size: PackSize
    pack_bytes: PackSize
    path: Annotated[tuple[Hash, ...], Meta(max_length=RANGE_PATH_NODES)] = ()


class PutHead(Message, frozen=True, kw_only=True):
    """Opener: replace the head, if its number is one more than that of the head held."""

    agreement: Agreement
    head: Signed
    grant: Signed
    drafts: Annotated[tuple[StoredHash, ...], Meta(max_length=HEAD_DRAFTS)] = ()
    """Drafts that this head does not name either: they stay drafts, all others are packs as any other (ADR 31)."""


class HeadStored(Message, frozen=True, kw_only=True):
    """Answer to PutHead: the signed HeadReceipt, and how many requests to remove packs were kept so far."""

    receipt: Signed
    removals: Size = 0


class HeadIs(Message, frozen=True, kw_only=True):
    """Answer to GetHead, and to a PutHead that came too late: the head held, both empty if none; as HeadStored."""

    head: Signed = b""
    grant: Signed = b""
    removals: Size = 0
    held: Signed = b""
    """The signed HeadHeld, if one was asked for; hosts of before give none."""


class GetHead(Message, frozen=True, kw_only=True):
    """Opener: asks which head is held; with a nonce of 16 bytes, for the host's signed word on it, too."""

    agreement: Agreement
    receipt: Signed = b""
    """The newest signed HeadReceipt of this host, whole: its word is given upon that. Empty if there is none."""
    nonce: Annotated[bytes, Meta(max_length=16)] = b""


class PackRow(NamedTuple):
    """One stored pack: id and length in bytes."""

    stored: StoredHash
    size: PackSize


class ListPacks(Message, frozen=True, kw_only=True):
    """Opener: up to `limit` packs with a stored id above `after` (b"" = from the start)."""

    agreement: Agreement
    after: Annotated[bytes, Meta(max_length=32)] = b""
    limit: Page = PACK_LIST_PAGE


class PackList(Message, frozen=True, kw_only=True):
    """Answer to ListPacks, in ascending order of stored id."""

    packs: Annotated[tuple[PackRow, ...], Meta(max_length=PACK_LIST_PAGE)] = ()
    more: bool = False


class GetUsage(Message, frozen=True, kw_only=True):
    """Opener: asks how full the agreement is."""

    agreement: Agreement


class Usage(Message, frozen=True, kw_only=True):
    """Answer to GetUsage: agreed size, used bytes, number of packs, bytes free on the store."""

    size_bytes: Size
    used_bytes: Size
    packs: Size
    free_bytes: Size
    deleted_bytes: Size = 0
    """Of the used bytes: those that the owner deleted, and that are kept until the lock is over."""
    next_free_bytes: Size = 0
    next_free_s: Size = 0
    """How many of the deleted bytes are erased next, and after how many seconds of the host's uptime."""
    spare_bytes: Size = LARGEST
    """How many bytes may be deleted now before their hold doubles (ADR 37); hosts of before don't do that."""


class RemovalRequest(Message, frozen=True, kw_only=True):
    """Base of three openers. `device_sig`: of the device that writes, over the same statement; see Removals."""

    agreement: Agreement
    signed: Signed
    packs: RemovalPacks
    device_sig: Annotated[bytes, Meta(max_length=64)] = b""


class DeletePacks(RemovalRequest, frozen=True, kw_only=True):
    """Opener: the signed PackDelete, and the packs that it is about."""


class Deleted(Message, frozen=True, kw_only=True):
    """Answer to DeletePacks, durable: how many packs were deleted by this, and for how long all of them stay."""

    packs: Size
    lock_s: Size


class RevivePacks(RemovalRequest, frozen=True, kw_only=True):
    """Opener: the signed PackRevive, and the packs that it is about."""


class Revived(Message, frozen=True, kw_only=True):
    """Answer to RevivePacks, durable: those of the packs that are kept as any other now; the rest is erased."""

    packs: Annotated[tuple[StoredHash, ...], Meta(max_length=REMOVAL_PACKS)] = ()


class WithdrawPacks(RemovalRequest, frozen=True, kw_only=True):
    """Opener: the signed PackWithdraw, and the packs that it is about."""


class Withdrawn(Message, frozen=True, kw_only=True):
    """Answer to WithdrawPacks, durable: those of the packs that are erased now; others are no drafts, or not here."""

    packs: Annotated[tuple[StoredHash, ...], Meta(max_length=REMOVAL_PACKS)] = ()


class FindDrafts(Message, frozen=True, kw_only=True):
    """Opener: asks which of these packs a PackWithdraw upon the head held now would have erased at once."""

    agreement: Agreement
    packs: RemovalPacks


class DraftsAre(Message, frozen=True, kw_only=True):
    """Answer to FindDrafts: those of the packs that are drafts upon the head held; others take a lock, if here."""

    packs: Annotated[tuple[StoredHash, ...], Meta(max_length=REMOVAL_PACKS)] = ()


class ListDeleted(Message, frozen=True, kw_only=True):
    """Opener: up to `limit` deleted packs with a stored id above `after` (b"" = from the start)."""

    agreement: Agreement
    after: Annotated[bytes, Meta(max_length=32)] = b""
    limit: Page = PACK_LIST_PAGE


class DeletedRow(NamedTuple):
    """One deleted pack: id, length in bytes, seconds until it is erased."""

    stored: StoredHash
    size: PackSize
    left_s: Size


class DeletedList(Message, frozen=True, kw_only=True):
    """Answer to ListDeleted, in ascending order of stored id."""

    packs: Annotated[tuple[DeletedRow, ...], Meta(max_length=PACK_LIST_PAGE)] = ()
    more: bool = False

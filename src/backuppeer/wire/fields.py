"""The shapes that messages are made of, each with its cap, and the base of all messages (docs/protocol.md).

Knows: lengths and ranges. Must not know: which message has which field, who may say what when.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from backuppeer.ids import AgreementId, PeerId, StoredId
from backuppeer.limits import (
    EXTENSION_VALUE_BYTES,
    LANE_CERTIFICATE_BYTES,
    LEAF_BYTES,
    LISTING_TERM_S,
    PACK_LIST_PAGE,
    PACK_TARGET_BYTES,
    PROTOCOL_TEXT_CHARS,
    REMOVAL_PACKS,
    SIGNED_BYTES,
    STATEMENT_EXTENSION_CHARS,
    STATEMENT_EXTENSIONS,
)

LARGEST: Final = 2**63 - 1
_PACK_LEAVES: Final = PACK_TARGET_BYTES // LEAF_BYTES

Nonce = Annotated[bytes, Meta(min_length=32, max_length=32)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Signed = Annotated[bytes, Meta(max_length=SIGNED_BYTES)]
Peer = Annotated[PeerId, Meta(min_length=32, max_length=32)]
Agreement = Annotated[AgreementId, Meta(min_length=16, max_length=16)]
StoredHash = Annotated[StoredId, Meta(min_length=32, max_length=32)]
Version = Annotated[int, Meta(ge=1, le=0xFFFF)]
Features = Annotated[int, Meta(ge=0, le=LARGEST)]
Span = Annotated[int, Meta(ge=0, le=LISTING_TERM_S)]
Size = Annotated[int, Meta(ge=0, le=LARGEST)]
PackSize = Annotated[int, Meta(ge=1, le=PACK_TARGET_BYTES)]
PartSize = Annotated[int, Meta(ge=0, le=PACK_TARGET_BYTES)]
Certificate = Annotated[bytes, Meta(min_length=1, max_length=LANE_CERTIFICATE_BYTES)]
Port = Annotated[int, Meta(ge=0, le=0xFFFF)]
TypeNumber = Annotated[int, Meta(ge=0, le=255)]
Text = Annotated[str, Meta(max_length=PROTOCOL_TEXT_CHARS)]
Page = Annotated[int, Meta(ge=1, le=PACK_LIST_PAGE)]
FirstLeaf = Annotated[int, Meta(ge=0, lt=_PACK_LEAVES)]
LeafCount = Annotated[int, Meta(ge=1, le=_PACK_LEAVES)]
ExtValue = Annotated[bytes, Meta(max_length=EXTENSION_VALUE_BYTES)]
ExtKey = Annotated[str, Meta(max_length=STATEMENT_EXTENSION_CHARS)]
Ext = Annotated[dict[ExtKey, ExtValue], Meta(max_length=STATEMENT_EXTENSIONS)]
RemovalPacks = Annotated[tuple[StoredHash, ...], Meta(min_length=1, max_length=REMOVAL_PACKS)]


class Message(Struct, frozen=True, kw_only=True):
    """Base of all messages."""

"""What a tree entry says beyond its fields: extended attributes, device numbers, links, holes (docs/format.md).

Knows: keys and encodings of `TreeEntry.ext`. Must not know: how a system keeps any of it. Keys that are not known here
are kept and passed over: a reader may ignore them.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from backuppeer.limits import ATTRIBUTE_NAME_BYTES, EXTENSION_BYTES

ATTRIBUTES: Final = "xattrs"
DEVICE: Final = "device"
LINK: Final = "link"
SPARSE: Final = "sparse"
_U32_BYTES: Final = 4
_U64_BYTES: Final = 8
_Name = Annotated[bytes, Meta(min_length=1, max_length=ATTRIBUTE_NAME_BYTES)]
_decoder: Final = msgspec.msgpack.Decoder(dict[_Name, bytes])
NO_ATTRIBUTES: Final[dict[bytes, bytes]] = {}
"""Shared: nobody changes it."""


class Link(msgspec.Struct, frozen=True, gc=False):
    """A file with several names: with the entry's inode, the file system it is on; and how many names it had."""

    device: int
    names: int


def encode_extension(
    *,
    attributes: Mapping[bytes, bytes] = NO_ATTRIBUTES,
    device: tuple[int, int] | None = None,
    link: Link | None = None,
    is_sparse: bool = False,
) -> dict[str, bytes]:
    """Return the extension of an entry; the same things always give the same bytes."""
    ext: dict[str, bytes] = {}
    if device is not None:
        ext[DEVICE] = b"".join(number.to_bytes(_U32_BYTES, "big") for number in device)
    if link is not None:
        ext[LINK] = link.device.to_bytes(_U64_BYTES, "big") + link.names.to_bytes(_U64_BYTES, "big")
    if is_sparse:
        ext[SPARSE] = b""
    if attributes:
        ext[ATTRIBUTES] = msgspec.msgpack.encode(dict(sorted(attributes.items())))
    return ext


def attributes_of(ext: Mapping[str, bytes]) -> dict[bytes, bytes]:
    """Return the extended attributes, by name."""
    return _decoder.decode(ext[ATTRIBUTES]) if ATTRIBUTES in ext else NO_ATTRIBUTES


def device_of(ext: Mapping[str, bytes]) -> tuple[int, int]:
    """Return (major, minor) of a device node."""
    raw = ext[DEVICE]
    return int.from_bytes(raw[:_U32_BYTES], "big"), int.from_bytes(raw[_U32_BYTES:], "big")


def link_of(ext: Mapping[str, bytes]) -> Link | None:
    """Return what ties a file to its other names; None when it has none."""
    raw = ext.get(LINK)
    return (
        None if raw is None else Link(int.from_bytes(raw[:_U64_BYTES], "big"), int.from_bytes(raw[_U64_BYTES:], "big"))
    )


def problem_of(ext: Mapping[str, bytes], *, is_device: bool) -> str:
    """Say what is wrong with an extension, "" for nothing."""
    if sum(len(key) + len(value) for key, value in ext.items()) > EXTENSION_BYTES:
        return "the extension fields are too long"
    if (DEVICE in ext) != is_device or len(ext.get(DEVICE, bytes(2 * _U32_BYTES))) != 2 * _U32_BYTES:
        return "a device, and nothing else, needs its two numbers"
    if len(ext.get(LINK, bytes(2 * _U64_BYTES))) != 2 * _U64_BYTES or ext.get(SPARSE):
        return "the mark of a link or of holes is malformed"
    try:
        names = attributes_of(ext)
    except (msgspec.MsgspecError, RecursionError):
        return "the extended attributes can't be decoded"
    return "an extended attribute has a bad name" if any(b"\0" in name for name in names) else ""

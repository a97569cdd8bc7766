"""Read a backup with nothing but the 24 words and a host's store folder: a second, independent reader of the formats.

It imports nothing of backup-peer. It was written from docs/format.md and docs/keys-and-statements.md and proves that
they are enough; it is also the last resort when the program itself is gone. Needs Python 3.11 and, from PyPI:
blake3, cryptography, zstandard, msgspec, mnemonic.

    python read_backup.py STORE --list
    python read_backup.py STORE --target DIR [--snapshot PREFIX]
    python read_backup.py STORE --check

The words are asked for, or read from standard input; they are never arguments. STORE is only read. Exit codes:
0 done, 2 wrong use or words, 10 no such backup or snapshot, 15 something was missing or wrong (named; the rest is
restored). Whoever holds the store can also hold back the newest head: compare the date shown with what you remember.
"""

import argparse
import contextlib
import getpass
import hashlib
import hmac
import os
import stat
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

try:
    import msgspec
    import zstandard
    from blake3 import blake3
    from cryptography.exceptions import InvalidSignature, InvalidTag
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
    from mnemonic import Mnemonic
except ModuleNotFoundError as exc:
    sys.stderr.write(
        f"read_backup.py: no module {exc.name!r}; it needs five libraries: "
        "python3 -m pip install blake3 cryptography zstandard msgspec mnemonic\n"
    )
    raise SystemExit(2) from None

TREE, SNAPSHOT, INDEX, DATA = 2, 3, 4, 1
FILE, DIRECTORY, SYMLINK, FIFO, CHARACTER_DEVICE, BLOCK_DEVICE = 1, 2, 3, 4, 5, 6
NODE_TYPES: Final = {FIFO: stat.S_IFIFO, CHARACTER_DEVICE: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK}
LINKED_MAX: Final = 512
"""Files of several names kept open for the next of them; beyond, each name becomes a file of its own."""
TAG: Final = 16
BLOB_MAX: Final = 4 << 20
PACK_MAX: Final = 16 << 20
GENERATIONS: Final = 64
PACKS_IN_MEMORY: Final = 8
DEPTH_MAX: Final = 400
T = TypeVar("T")


class BadDataError(Exception):
    """Bytes that are not what they should be."""


class FatalError(Exception):
    """The run can't go on."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def require(condition: object, message: str) -> None:
    """Raise unless the condition holds."""
    if not condition:
        raise BadDataError(message)


# --- hashes, keys, statements: docs/keys-and-statements.md


def hash_in(domain: str, data: bytes | memoryview) -> bytes:
    """Return BLAKE3 keyed with the constant of a domain."""
    return blake3(data, key=f"backuppeer v1 {domain}".encode().ljust(32, b"\0")).digest()


def merkle_top(nodes: list[bytes]) -> bytes:
    """Pair neighbours level by level, an odd last one carried up: the tree of RFC 6962."""
    while len(nodes) > 1:
        pairs = [hash_in("merkle node", nodes[i] + nodes[i + 1]) for i in range(0, len(nodes) - 1, 2)]
        nodes = pairs + nodes[len(pairs) * 2 :]
    return nodes[0] if nodes else b""


def stored_id(data: bytes) -> bytes:
    """Return the Merkle root of a pack: its file name."""
    view = memoryview(data)
    leaves = [hash_in("merkle leaf", view[i : i + 16384]) for i in range(0, len(view), 16384)]
    return hash_in("merkle root", len(data).to_bytes(8, "big") + merkle_top(leaves))


def set_root(ids: Iterable[bytes]) -> bytes:
    """Return the root of a set of ids, order and repetition aside."""
    members = sorted(set(ids))
    top = merkle_top([hash_in("set leaf", member) for member in members])
    return hash_in("set root", len(members).to_bytes(8, "big") + top)


def derive(secret: bytes, label: str, context: bytes = b"", salt: bytes = bytes(32)) -> bytes:
    """HKDF-SHA256 for one block of 32 bytes (RFC 5869)."""
    pseudo_random = hmac.digest(salt, secret, hashlib.sha256)
    info = b"backuppeer/v1/" + label.encode() + b"\0" + context
    return hmac.digest(pseudo_random, info + b"\x01", hashlib.sha256)


def public_of(seed: bytes) -> bytes:
    """Return the Ed25519 public key of a seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def working_secret(master: bytes, generation: int) -> bytes:
    """Return the working secret of a generation."""
    return derive(master, "working", generation.to_bytes(4, "big"))


def read_statement(data: bytes, kind: str, count: int) -> tuple[dict[str, Any], bytes, list[bytes]]:
    """Return a statement's fields, its blob and its signatures, none of them checked yet."""
    length = int.from_bytes(data[:4], "big")
    blob, rest = data[4 : 4 + length], data[4 + length :]
    require(len(blob) == length and len(rest) == 64 * count, f"these bytes are not a signed {kind}")
    fields = decode(blob, dict[str, Any], kind)
    require(fields.get("kind") == kind, f"a statement is not a {kind}")
    require(fields.get("v") == 1, f"a {kind} has version {fields.get('v')}, this program knows 1")
    return fields, blob, [rest[i : i + 64] for i in range(0, len(rest), 64)]


def check_signature(public: object, purpose: str, blob: bytes, signature: bytes) -> None:
    """Check a signature over purpose and blob."""
    require(isinstance(public, bytes) and len(public) == 32, f"a {purpose} names no key")
    try:
        key = Ed25519PublicKey.from_public_bytes(public)  # type: ignore[arg-type]  # checked in the line above
        key.verify(signature, b"backuppeer/v1/" + purpose.encode() + b"\0" + blob)
    except (InvalidSignature, ValueError) as exc:
        raise BadDataError(f"the signature of a {purpose} is wrong") from exc


# --- packs: docs/format.md


@dataclass(frozen=True, slots=True)
class Place:
    """Where a blob lies."""

    path: Path
    kind: int
    codec: int
    slot: int
    offset: int
    sealed: int
    plain: int


@dataclass(frozen=True, slots=True)
class Cipher:
    """What opens the slots of one copy."""

    aead: AESGCM | ChaCha20Poly1305
    header: bytes

    def open(self, slot: int, sealed: bytes) -> bytes:
        """Return the plaintext of a slot."""
        counter = slot.to_bytes(4, "big")
        try:
            return self.aead.decrypt(bytes(8) + counter, sealed, self.header + counter)
        except InvalidTag as exc:
            raise BadDataError(f"slot {slot:#x} does not open") from exc


class Repository:
    """One repository as a store folder holds it: keys, packs, and the blobs found in them."""

    def __init__(self, master: bytes, repository: bytes) -> None:
        self.id = repository
        self.problems: list[str] = []
        self.logicals: set[bytes] = set()
        self.files: dict[bytes, Path] = {}
        self._master = master
        self._secrets: dict[int, bytes] = {}
        self._places: dict[bytes, list[Place]] = {}
        self._loaded: OrderedDict[Path, tuple[bytes, Cipher]] = OrderedDict()

    def _secret(self, generation: int) -> bytes:
        if generation not in self._secrets:
            self._secrets[generation] = derive(working_secret(self._master, generation), "repository", self.id)
        return self._secrets[generation]

    def _cipher(self, header: bytes) -> Cipher:
        require(len(header) == 64 and header[:8] == b"BPPACK\r\n", "not a pack")
        require(header[8] == 1, f"pack version {header[8]} is unknown")
        require(header[9] in {1, 2} and header[10:12] == b"\0\0", "unknown cipher suite or reserved bits")
        require(header[16:32] == self.id, "a pack of another repository")
        generation = int.from_bytes(header[12:16], "big")
        key = derive(self._secret(generation), "pack", bytes([header[9], 1]), salt=header[32:])
        return Cipher(AESGCM(key) if header[9] == 1 else ChaCha20Poly1305(key), header)

    def scan(self, folder: Path) -> None:
        """Open the directory of every pack below an agreement's folder."""
        for path in sorted(folder.glob("packs/??/*")):
            if len(path.name) != 64 or path.is_symlink() or not path.is_file():
                continue
            try:
                self._scan_pack(path)
            except (BadDataError, OSError) as exc:
                self.problems.append(f"pack {path.name}: {exc}")

    def _scan_pack(self, path: Path) -> None:
        size = path.stat().st_size
        require(256 << 10 <= size <= PACK_MAX and size % 8192 == 0, f"no pack has {size} bytes")
        with path.open("rb") as file:
            file.seek(-112, os.SEEK_END)
            end = file.read(112)
            cipher = self._cipher(end[48:])
            footer = cipher.open(0xFFFFFFFF, end[:48])
            start, length, bound, count = (int.from_bytes(footer[a:b], "big") for a, b in FOOTER)
            require(bound == size and start + length + 112 == size and not any(footer[20:]), "a contradictory footer")
            require(1 <= count <= 8192 and length == 21 + 42 * count + TAG, "an impossible directory")
            file.seek(start)
            plain = cipher.open(0xFFFFFFFE, file.read(length))
        require(plain[0] == 1 and int.from_bytes(plain[17:21], "big") == count, "an unknown directory version")
        found: list[tuple[bytes, Place]] = []
        offset = 64
        for slot in range(count):
            row = plain[21 + 42 * slot : 63 + 42 * slot]
            sealed, size_plain = int.from_bytes(row[2:6], "big"), int.from_bytes(row[6:10], "big")
            known = row[0] in {DATA, TREE, SNAPSHOT, INDEX} and row[1] in {0, 1}
            require(known, f"blob kind {row[0]} with codec {row[1]} is unknown")
            fits = TAG <= sealed <= size_plain + TAG and size_plain <= BLOB_MAX
            require(fits and (row[1] == 1 or sealed == size_plain + TAG), "an impossible entry")
            found.append((row[10:], Place(path, row[0], row[1], slot, offset, sealed, size_plain)))
            offset += sealed
        require(offset == start or offset + TAG <= start, "entries beyond the directory")
        for blob, place in found:
            self._places.setdefault(blob, []).append(place)
        self.logicals.add(plain[1:17])
        self.files[plain[1:17]] = path

    def load(self, path: Path) -> tuple[bytes, Cipher]:
        """Return a whole pack whose Merkle root is its name; the last few stay in memory."""
        if path in self._loaded:
            self._loaded.move_to_end(path)
            return self._loaded[path]
        with path.open("rb") as file:
            data = file.read(PACK_MAX + 1)
        require(stored_id(data).hex() == path.name, f"pack {path.name} has other bytes than its name says")
        require(data[:64] == data[-64:], f"pack {path.name} has two different headers")
        self._loaded[path] = (data, self._cipher(data[:64]))
        if len(self._loaded) > PACKS_IN_MEMORY:
            self._loaded.popitem(last=False)
        return self._loaded[path]

    def fetch(self, kind: int, blob: bytes) -> bytes:
        """Return the checked plaintext of a blob, from whichever pack has it whole."""
        found = self._places.get(blob, [])
        require(found, f"blob {blob.hex()[:16]} is missing")
        trouble = ""
        for place in found:
            try:
                return self._open_blob(kind, blob, place)
            except (BadDataError, OSError) as exc:
                trouble = str(exc)
        raise BadDataError(trouble)

    def _open_blob(self, kind: int, blob: bytes, place: Place) -> bytes:
        require(place.kind == kind, f"blob {blob.hex()[:16]} is of kind {place.kind}, not {kind}")
        data, cipher = self.load(place.path)
        payload = cipher.open(place.slot, data[place.offset : place.offset + place.sealed])
        plain = inflate(payload, place.plain) if place.codec == 1 else payload
        require(place.codec in {0, 1} and len(plain) == place.plain, "a blob of the wrong length")
        # Ids stay those of the first generation, whichever sealed the pack.
        key = derive(self._secret(1), "blob-id", bytes([kind]))
        require(blake3(plain, key=key).digest() == blob, f"blob {blob.hex()[:16]} has other content")
        return plain


FOOTER: Final = ((0, 4), (4, 8), (8, 16), (16, 20))


def inflate(payload: bytes, size: int) -> bytes:
    """Return the plaintext of one zstd frame, no longer than its directory entry says."""
    try:
        require(zstandard.frame_content_size(payload) == size, "a compressed blob of the wrong length")
        return zstandard.ZstdDecompressor().decompress(payload, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as exc:
        raise BadDataError("a blob that is not zstd") from exc


# --- inventory, snapshots, trees


def split(joined: bytes, size: int) -> list[bytes]:
    """Cut joined ids."""
    require(len(joined) % size == 0, "a list of ids is cut short")
    return [joined[i : i + size] for i in range(0, len(joined), size)]


def decode(data: bytes, kind: type[T], what: str) -> T:
    """Decode msgpack into a type."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise BadDataError(f"a {what} can't be decoded: {exc}") from exc


def read_inventory(repository: Repository, head: dict[str, Any]) -> tuple[list[bytes], list[bytes]]:
    """Return (snapshots, packs), all that the head commits to and nothing else."""
    version, (joined, pieces) = decode(
        repository.fetch(INDEX, head["index"]), tuple[int, tuple[bytes, bytes]], "inventory"
    )
    require(version == 1, f"inventory version {version} is unknown")
    packs: list[bytes] = []
    for piece in split(pieces, 32):
        data = repository.fetch(INDEX, piece)
        require(data[:1] == b"\x01", "an unknown list version")
        packs += split(data[1:], 16)
    snapshots = split(joined, 32)
    require(set_root(snapshots) == head["snapshots_root"], "the snapshots are not those of the head")
    require(set_root(packs) == head["packs_root"], "the packs are not those of the head")
    return snapshots, packs


class Entry(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One name in a directory."""

    kind: int
    name: bytes
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    size: int
    content: bytes = b""
    target: bytes = b""
    user: str = ""
    group: str = ""
    depth: int = 0
    ext: dict[str, bytes] = {}


def read_tree(repository: Repository, content: bytes) -> Iterator[Entry]:
    """Yield the entries of a directory; a name that could escape, or that comes twice, stops it."""
    last = b""
    for piece in split(content, 32):
        version, entries = decode(repository.fetch(TREE, piece), tuple[int, list[Entry]], "tree")
        require(version == 1, f"tree version {version} is unknown")
        for entry in entries:
            name = entry.name
            plain = name not in {b"", b".", b".."} and b"/" not in name and b"\0" not in name
            require(plain, f"a tree holds the name {name!r}")
            require(name > last, f"a tree is out of order at {name!r}")
            last = name
            yield entry


# --- writing


class Writer:
    """Writes below one directory, through its file descriptor: no name and no link leads out of it."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._written: dict[tuple[bytes, int, bytes, int], int] = {}
        self.files = self.bytes = 0

    def problem(self, path: bytes, error: Exception) -> None:
        """Note what could not be restored."""
        self._repository.problems.append(f"{printable(path)}: {error}")

    def write_tree(self, parent: int, content: bytes, path: bytes, depth: int = 0) -> None:
        """Restore a directory's entries below the open directory `parent`."""
        try:
            require(depth < DEPTH_MAX, "directories nest too deep")
            for entry in read_tree(self._repository, content):
                self._write_entry(parent, entry, path + b"/" + entry.name, depth)
        except BadDataError as exc:
            self.problem(path or b"/", exc)

    def _write_entry(self, parent: int, entry: Entry, path: bytes, depth: int) -> None:
        try:
            if entry.kind == DIRECTORY:
                self._write_directory(parent, entry, path, depth)
            elif entry.kind == SYMLINK:
                os.symlink(entry.target, entry.name, dir_fd=parent)
                set_owner(entry, entry.name, parent)
                set_attributes(entry, b"/proc/self/fd/%d/%s" % (parent, entry.name), follow=False)
                os.utime(entry.name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)
            elif entry.kind == FILE:
                self._link_or_write(parent, entry)
            else:
                require(entry.kind in NODE_TYPES, f"unknown kind {entry.kind}")
                write_node(parent, entry)
        except (BadDataError, OSError, ValueError, OverflowError) as exc:
            self.problem(path, exc)

    def _write_directory(self, parent: int, entry: Entry, path: bytes, depth: int) -> None:
        os.mkdir(entry.name, 0o700, dir_fd=parent)
        # O_NOFOLLOW: what was just made is opened, not something put in its place.
        fd = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            self.write_tree(fd, entry.content, path, depth + 1)
            set_metadata(entry, fd)
        finally:
            os.close(fd)

    def _link_or_write(self, parent: int, entry: Entry) -> None:
        """Write a file, or link it to the name under which it was written before."""
        link = entry.ext.get("link", b"")
        key = (link[:8], entry.inode, entry.content, entry.size)
        if link and key in self._written:
            os.link(b"/proc/self/fd/%d" % self._written[key], entry.name, dst_dir_fd=parent, follow_symlinks=True)
            self.files += 1
            self.bytes += entry.size
            return
        self._write_file(parent, entry)
        if link and len(self._written) < LINKED_MAX:
            # The file itself, not its path: directories above may be finished and closed by then.
            self._written[key] = os.open(entry.name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)

    def _write_file(self, parent: int, entry: Entry) -> None:
        # O_EXCL: never opens what is there already, a link least of all.
        fd = os.open(entry.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
        try:
            self._write_content(fd, entry)
            set_metadata(entry, fd)
        except BadDataError:
            os.unlink(entry.name, dir_fd=parent)  # our own half-written file, made exclusively above
            raise
        finally:
            os.close(fd)
        self.files += 1
        self.bytes += entry.size

    def _write_content(self, fd: int, entry: Entry) -> None:
        written = 0
        for chunk in self._chunks(entry):
            plain = self._repository.fetch(DATA, chunk)
            if plain.count(0) < len(plain):  # zeros are left out: holes stay holes
                view = memoryview(plain)
                while view:
                    view = view[os.pwrite(fd, view, written + len(plain) - len(view)) :]
            written += len(plain)
        require(written == entry.size, f"{written} bytes instead of {entry.size}")
        os.ftruncate(fd, entry.size)

    def _chunks(self, entry: Entry) -> Iterator[bytes]:
        if entry.depth == 0:
            yield from split(entry.content, 32)
            return
        require(entry.depth == 1, f"content of depth {entry.depth} is unknown")
        for item in split(entry.content, 32):
            data = self._repository.fetch(TREE, item)
            require(data[:1] == b"\x01", "an unknown list version")
            yield from split(data[1:], 32)


def write_node(parent: int, entry: Entry) -> None:
    """Make a pipe, or, if we may, a device."""
    numbers = entry.ext.get("device", bytes(8))
    require(len(numbers) == 8, "a device needs its two numbers")
    device = os.makedev(int.from_bytes(numbers[:4], "big"), int.from_bytes(numbers[4:], "big"))
    os.mknod(entry.name, NODE_TYPES[entry.kind] | 0o600, device, dir_fd=parent)
    fd = os.open(entry.name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)
    try:
        place = b"/proc/self/fd/%d" % fd  # nothing is opened: a device may do something when it is
        if os.geteuid() == 0:
            os.chown(place, entry.uid, entry.gid)
        set_attributes(entry, place)
        os.chmod(place, stat.S_IMODE(entry.mode))  # noqa: PTH101 - bytes path
        os.utime(place, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(fd)


def set_attributes(entry: Entry, place: int | bytes, *, follow: bool = True) -> None:
    """Set the extended attributes that can be set, access control lists among them."""
    raw = entry.ext.get("xattrs")
    for name, value in (decode(raw, dict[bytes, bytes], "attributes") if raw else {}).items():
        with contextlib.suppress(OSError):
            os.setxattr(place, name, value, follow_symlinks=follow)


def set_owner(entry: Entry, name: bytes | int, parent: int | None) -> None:
    """Set owner and group if we may."""
    if os.geteuid() == 0:
        if isinstance(name, int):
            os.fchown(name, entry.uid, entry.gid)
        else:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)


def set_metadata(entry: Entry, fd: int) -> None:
    """Set owner, mode and time of an open file or directory."""
    set_owner(entry, fd, None)  # first: a change of owner clears the set-user-id bit
    set_attributes(entry, fd)  # before the mode: a list of rights changes it
    os.fchmod(fd, stat.S_IMODE(entry.mode))
    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def printable(name: bytes) -> str:
    """Return a name that can't paint the terminal."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


# --- the run


@dataclass(frozen=True, slots=True)
class Found:
    """An agreement of these words: its folder and the newest statement of the writer there."""

    folder: Path
    repository: bytes
    head: dict[str, Any] | None


def read_start(path: Path) -> bytes:
    """Return a file's bytes, but not more than any statement has."""
    with path.open("rb") as file:
        return file.read(16384)


def find_agreements(store: Path, master: bytes, problems: list[str]) -> list[Found]:
    """Return the agreements whose authority is that of the words, with heads verified through the grant."""
    authority = public_of(derive(master, "authority"))
    owners = {public_of(derive(working_secret(master, g), "identity")) for g in range(GENERATIONS)}
    found = []
    for path in sorted(store.glob("agreements/*/agreement")):
        try:
            fields, blob, signatures = read_statement(read_start(path), "agreement", 2)
            if fields.get("authority") != authority:
                continue
            require(fields.get("owner") in owners, f"{path} names another owner")
            require(fields["agreement"] == bytes.fromhex(path.parent.name), f"{path} lies in the wrong folder")
            check_signature(fields["owner"], "agreement", blob, signatures[0])
            check_signature(fields["host"], "agreement", blob, signatures[1])
            found.append(Found(path.parent, fields["repository"], read_head(path.parent, fields, authority)))
        except (BadDataError, OSError, KeyError, TypeError, ValueError) as exc:
            problems.append(f"agreement {path.parent.name}: {exc}")
    return found


def read_head(folder: Path, agreement: dict[str, Any], authority: bytes) -> dict[str, Any] | None:
    """Return the head, signed by the device that the authority granted; None where no backup was finished."""
    if not (folder / "head").exists():
        return None
    data = read_start(folder / "head")
    require(data[:8] == b"BPHEAD1\n", "not a head file")
    end = 12 + int.from_bytes(data[8:12], "big")
    grant, blob, signatures = read_statement(data[end:], "writer-grant", 1)
    check_signature(authority, "writer-grant", blob, signatures[0])
    head, blob, signatures = read_statement(data[12:end], "head", 1)
    check_signature(grant["device"], "head", blob, signatures[0])
    same = all(head[key] == grant[key] for key in ("repository", "epoch", "device"))
    require(same and head["repository"] == agreement["repository"], "head, grant and agreement don't belong together")
    return head


def open_repository(store: Path, master: bytes) -> tuple[Repository, dict[str, Any]]:
    """Return the repository with the newest head of these words, its packs scanned, and that head."""
    problems: list[str] = []
    agreements = find_agreements(store, master, problems)
    heads = [(a.head["epoch"], a.head["number"], a) for a in agreements if a.head is not None]
    if not heads:
        detail = "".join(f"\n  {p}" for p in problems)
        raise FatalError(15 if problems else 10, f"no finished backup of these words in {store}{detail}")
    _, _, newest = max(heads, key=lambda h: h[:2])
    assert newest.head is not None  # noqa: S101 - for the type checker; the list above holds no other
    repository = Repository(master, newest.repository)
    repository.problems += problems
    for agreement in agreements:
        if agreement.repository == newest.repository:
            repository.scan(agreement.folder)
    return repository, newest.head


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot's id and fields."""

    id: bytes
    fields: dict[str, Any]

    def __str__(self) -> str:
        time = datetime.fromtimestamp(self.fields["time_ns"] // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        paths = " ".join(printable(path) for path in self.fields["paths"])
        return f"{self.id.hex()[:16]}  {time}  {self.fields['files']} files  {self.fields['bytes']} bytes  {paths}"


def read_snapshots(repository: Repository, ids: list[bytes]) -> list[Snapshot]:
    """Return the readable snapshots, oldest first."""
    found = []
    for item in ids:
        try:
            fields = decode(repository.fetch(SNAPSHOT, item), dict[str, Any], "snapshot")
            require(fields.get("v") == 1, f"version {fields.get('v')} is unknown")
            known = all(isinstance(fields.get(key), int) for key in ("time_ns", "files", "bytes"))
            require(known and isinstance(fields.get("tree"), bytes), "fields are missing")
            found.append(Snapshot(item, fields))
        except BadDataError as exc:
            repository.problems.append(f"snapshot {item.hex()[:16]}: {exc}")
    return sorted(found, key=lambda s: s.fields["time_ns"])


def choose(snapshots: list[Snapshot], wanted: str) -> Snapshot:
    """Return the one snapshot wanted."""
    matches = snapshots[-1:] if wanted == "latest" else [s for s in snapshots if s.id.hex().startswith(wanted.lower())]
    if len(matches) != 1:
        raise FatalError(10, f"{len(matches)} snapshots are called {wanted!r}; --list shows them")
    return matches[0]


def open_target(target: Path) -> int:
    """Return a descriptor of the target, which must be empty or new."""
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise FatalError(2, f"{target} is not empty")
    return os.open(target, os.O_RDONLY | os.O_DIRECTORY)


def check_packs(repository: Repository, packs: list[bytes]) -> None:
    """Read every pack of the inventory in full."""
    for logical in packs:
        path = repository.files.get(logical)
        if path is not None:
            try:
                repository.load(path)
            except (BadDataError, OSError) as exc:
                repository.problems.append(str(exc))


def read_words() -> bytes:
    """Return the master that the typed words stand for."""
    text = getpass.getpass("24 words: ") if sys.stdin.isatty() else sys.stdin.read(2048)
    words = text.lower().split()
    try:
        if len(words) != 24:
            raise FatalError(2, f"{len(words)} words, not 24")
        return bytes(Mnemonic("english").to_entropy(words))
    except (ValueError, LookupError) as exc:
        raise FatalError(2, "the words are not a valid list: one is misread, or two are swapped") from exc


def run(options: argparse.Namespace) -> list[str]:
    """Do what was asked; return what was wrong on the way."""
    if not (options.store / "agreements").is_dir():
        raise FatalError(10, f"{options.store} is no store folder: it has no directory 'agreements'")
    repository, head = open_repository(options.store, read_words())
    when = datetime.fromtimestamp(head["time_ms"] // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(f"head {head['number']} of {when}, repository {repository.id.hex()}, {len(repository.files)} packs here")
    snapshot_ids, packs = read_inventory(repository, head)
    repository.problems += [f"pack {p.hex()} is missing" for p in packs if p not in repository.logicals]
    snapshots = read_snapshots(repository, snapshot_ids)
    if options.check:
        check_packs(repository, packs)
    if options.list or options.target is None:
        print(*snapshots, sep="\n")
        return repository.problems
    snapshot = choose(snapshots, options.snapshot)
    print(f"restoring {snapshot}")
    writer = Writer(repository)
    target = open_target(options.target)
    try:
        writer.write_tree(target, snapshot.fields["tree"], b"")
    finally:
        os.close(target)
    print(f"restored {writer.files} files, {writer.bytes} bytes, to {options.target}")
    return repository.problems


def main() -> int:
    """Parse the command line, run, say what was wrong."""
    parser = argparse.ArgumentParser(description="Read a backup from a host's store folder with the 24 words.")
    parser.add_argument("store", type=Path, help="the host's store folder, with 'agreements' in it")
    parser.add_argument("--target", type=Path, help="an empty or new directory; absolute paths are kept below it")
    parser.add_argument("--snapshot", default="latest", metavar="PREFIX", help="first digits of a snapshot's id")
    parser.add_argument("--list", action="store_true", help="only list the snapshots")
    parser.add_argument("--check", action="store_true", help="read every pack in full")
    try:
        problems = run(parser.parse_args())
    except FatalError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.code
    except BadDataError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 15
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 15 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""Folders to back up: small and awkward, or large and random."""

import os
import random
from pathlib import Path

from noise import noise

CONTENT_MARK = b"the-owner's-secret-content-3b1f"
NAME_MARK = b"secret-name-9c44"
MIB = 1024 * 1024


def make_awkward_tree(root: Path) -> None:
    """Make one entry of every sort that must survive: see the names."""
    deep = root / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "note.txt").write_bytes(CONTENT_MARK * 3)
    (root / "Grüße aus 東京 🗾.txt").write_text("ünïcode")
    (root / os.fsdecode(b"not-utf8-\xff\xfe-" + NAME_MARK)).write_bytes(b"any byte may stand in a name")
    (root / "new\nline and \x1b[31mescape").write_bytes(b"terminal")
    (root / "empty").write_bytes(b"")
    (root / "empty-folder").mkdir()
    (root / "link").symlink_to("a/b/c/d/note.txt")
    (root / "dangling").symlink_to("/nowhere/at/all")
    (root / "big").write_bytes(noise(1, 6 * MIB))
    (root / "compressible").write_bytes(CONTENT_MARK * (5 * MIB // len(CONTENT_MARK)))
    twin = noise(2, 3 * MIB)
    (root / "twin-1").write_bytes(twin)
    (root / "a" / "twin-2").write_bytes(twin)
    _set_metadata(root)


def make_random_files(root: Path, *, count: int, size_bytes: int, seed: int) -> None:
    """Make `count` files that neither compress nor repeat."""
    root.mkdir(parents=True, exist_ok=True)
    source = random.Random(seed)
    for number in range(count):
        (root / f"file-{number:03}").write_bytes(source.randbytes(size_bytes))


def _set_metadata(root: Path) -> None:
    (root / "empty").chmod(0o400)
    (root / "big").chmod(0o755)
    (root / "a" / "b").chmod(0o700)
    os.utime(root / "big", ns=(0, 1_234_567_890_123_456_789))
    os.utime(root / "link", ns=(0, 987_654_321_000_000_001), follow_symlinks=False)
    os.utime(root / "a" / "b" / "c", ns=(0, 1_000_000_000_000_000_007))

"""A source tree in four successive versions, made from a real one: edits, renames, additions, deletions.

Knows: text files, a seed. Must not know: who backs it up. The original is the interpreter's own library without its
packages. It is copied once and then changed in place, as people do; the same original gives the same versions, always.
"""

import random
import shutil
import sysconfig
from pathlib import Path

from datasets import Dataset

VERSIONS = ("version 1", "version 2", "version 3", "version 4")
EDITED_SHARE = 0.05
"""Of all files, between two versions: these are edited in 1 to 5 places, …"""
ADDED_SHARE = 0.02
"""… these are new, made of pieces of others, …"""
RENAMED_SHARE = 0.01
"""… these have another name, and one folder has, too, …"""
REMOVED_SHARE = 0.005
"""… and these are gone."""
_SKIPPED = ("__pycache__", "site-packages", "*.pyc", "*.so", "*.a", "*.o")


def make_source(folder: Path, scale: float) -> Dataset:
    """Return the first version, made anew in `folder`; before each later one is backed up it is changed to that."""
    tree = folder / "src"
    shutil.rmtree(folder, ignore_errors=True)
    copy_source(Path(sysconfig.get_paths()["stdlib"]), tree, scale)

    def prepare(work: str) -> None:
        if work in VERSIONS[1:]:
            change_source(tree, VERSIONS.index(work))

    return Dataset([tree], prepare)


def copy_source(original: Path, tree: Path, scale: float) -> None:
    """Copy `original` without what is no source; at a scale below 1 only the first of its folders by name."""
    shutil.copytree(original, tree, ignore=shutil.ignore_patterns(*_SKIPPED), symlinks=True)
    folders = sorted(path for path in tree.iterdir() if path.is_dir())
    for extra in folders[max(1, round(len(folders) * scale)) :] if scale < 1 else ():
        shutil.rmtree(extra)


def change_source(tree: Path, step: int) -> None:
    """Change `tree` to its next version; `step` is the seed."""
    source = random.Random(step)  # noqa: S311 - the same changes in every run
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    source.shuffle(files)
    edited, added, renamed, removed = (
        files[start :: len(files) // max(1, round(len(files) * share)) + 1]
        for start, share in enumerate((EDITED_SHARE, ADDED_SHARE, RENAMED_SHARE, REMOVED_SHARE))
    )
    for path in edited:
        _edit(path, source)
    for number, path in enumerate(added):
        _write_new(path.with_name(f"new_{step}_{number}{path.suffix}"), path, source.choice(files), source)
    for path in removed:
        path.unlink()
    for path in renamed:
        if path.exists():
            path.rename(path.with_name(f"moved_{step}_{path.name}"))
    folder = source.choice(sorted(path for path in tree.iterdir() if path.is_dir()))
    folder.rename(folder.with_name(f"{folder.name}_{step}"))


def _edit(path: Path, source: random.Random) -> None:
    """Insert, replace or remove up to ten lines in 1 to 5 places."""
    lines = path.read_bytes().splitlines(keepends=True)
    for _ in range(source.randint(1, 5)):
        at, count = source.randint(0, len(lines)), source.randint(1, 10)
        written = [b"    value_%d = compute(%d)\n" % (source.randrange(10**6), n) for n in range(count)]
        kind = source.choice(("insert", "replace", "remove"))
        lines[at : at if kind == "insert" else at + count] = [] if kind == "remove" else written
    path.write_bytes(b"".join(lines))


def _write_new(path: Path, one: Path, other: Path, source: random.Random) -> None:
    head, tail = (text.read_bytes().splitlines(keepends=True) for text in (one, other))
    path.write_bytes(b"".join([*head[: source.randint(0, len(head))], *tail[source.randint(0, len(tail)) :]]))

"""Homes as an earlier version left them, opened by this one; and a home of a later version, which this one refuses."""

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from e2e.harness import Home, World
from recorded.keep_home import FILES, FOLDER

pytestmark = pytest.mark.slow
HOMES = sorted(FOLDER.glob("homes-*.tar.xz"))


def unpack(archive: Path, world: World) -> tuple[Home, Home]:
    """Lay the homes of an owner and its host into the world."""
    with tarfile.open(archive) as kept:
        # Of this repository; Python has filters from 3.11.4 on.
        kept.extractall(world.path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # noqa: S202
    return world.home("owner"), world.home("host")


def speak_later_protocol(folder: Path) -> Path:
    """Return what is to be in the PYTHONPATH of a program that is two versions of the protocol ahead."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "from backuppeer.wire.handshake import Handshake, Offer\n"
        "for make in (Handshake.accept, Handshake.dial):\n"
        "    make.__func__.__kwdefaults__['offer'] = Offer((2, 3))\n"
    )
    return folder


@pytest.mark.parametrize("archive", HOMES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def test_homes_of_an_earlier_version_restore_audit_and_back_up_and_those_of_a_later_one_are_refused_by_name(
    world, archive
):
    world.start_server()
    owner, host = unpack(archive, world)
    host.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    (row,) = owner.do("snapshots").rows
    assert row["files"] == len(FILES)
    target = world.path / "restored"
    assert owner.do("restore", "latest", "--target", str(target)).last["errors"] == 0
    (top,) = target.rglob("docs")
    assert {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()} == FILES
    assert owner.do("audit", "--now", "alice").last["shown"] > 0
    (top / "new").write_bytes(b"of today")
    owner.do("backup", str(top), "--to", "alice")
    assert len(owner.do("snapshots").rows) == 2

    host.do("agent", "stop")
    host.paths = str(speak_later_protocol(world.path / "later"))
    host.do("agent", "start")
    apart = owner.run("backup", str(top), "--to", "alice")
    assert apart.code == 11
    assert "has a newer backup-peer, and this one can't talk to it: it speaks protocol 2 to 3" in apart.stderr
    assert "hint: install the newer backup-peer on this machine (docs/upgrades.md)" in apart.stderr

    owner.do("agent", "stop")
    with closing(sqlite3.connect(owner.path / "state.db")) as state:
        state.execute("PRAGMA user_version=999")
    refused = owner.run("snapshots")
    assert refused.code == 15
    assert "was written by a newer version (format 999" in refused.stderr
    assert "install the newer backup-peer again; nothing was changed" in refused.stderr

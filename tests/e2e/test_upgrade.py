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
        kept.extractall(world.path, filter="data")
    return world.home("owner"), world.home("host")


@pytest.mark.parametrize("archive", HOMES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def test_homes_of_an_earlier_version_list_restore_audit_and_back_up_again(world, archive):
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

    owner.do("agent", "stop")
    with closing(sqlite3.connect(owner.path / "state.db")) as state:
        state.execute("PRAGMA user_version=999")
    refused = owner.run("snapshots")
    assert refused.code == 15
    assert "was written by a newer version (format 999" in refused.stderr
    assert "install the newer backup-peer again; nothing was changed" in refused.stderr

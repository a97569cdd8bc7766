"""Keep the homes of an owner and its host as this version leaves them: `cd tests && python -m recorded.keep_home`.

Once for each minor version, by the real programs; what was kept stays as it is. The clock of the processes is that of
a day in the past, so that every machine opens the homes later than they were made. The keys in there are nobody's.
"""

import tarfile
from pathlib import Path
from typing import Final

from backuppeer import __version__
from e2e.harness import World

FOLDER: Final = Path(__file__).parent
VERSION: Final = __version__.rpartition(".")[0]
FILES: Final = {"letter.txt": b"dear reader\n", "sub/numbers": b"".join(b"%d\n" % n for n in range(2000))}
_DAY_S: Final = 1_735_689_600
"""2025-01-01."""
_LEFT_OUT: Final = {"logs", "lock", "agent.sock"}
_CLOCK: Final = f"""
import time
behind_ns = time.time_ns() - {_DAY_S} * 10**9
read_ns = time.time_ns
time.time_ns = lambda: read_ns() - behind_ns
time.time = lambda: time.time_ns() / 10**9
"""


def keep(world: World) -> Path:
    """Let an owner and a host agree, leave one backup, and stop both; return the archive of their homes."""
    clock = world.path / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(_CLOCK)
    world.paths = str(clock)
    world.start_server()
    source = world.path / "docs"
    for name, data in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    host, _ = world.peer("host")
    owner, _ = world.peer("owner")
    host.do("host", "--storage", "1GB", "--term", "99y", "--accept", "all", "--detach", "--yes")
    owner.do("connect", host.peer_id(), "--storage", "100MB", "--term", "99y", "--name", "alice", "--yes")
    owner.do("backup", str(source), "--to", "alice")
    for home in (owner, host):
        home.do("agent", "stop")
    path = FOLDER / f"homes-{VERSION}.tar.xz"
    with tarfile.open(path, "w:xz") as archive:
        for home in (owner, host):
            archive.add(home.path, arcname=home.path.name, filter=_pick)
    return path


def _pick(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if Path(member.name).name in _LEFT_OUT else member


if __name__ == "__main__":
    made = World()
    try:
        kept = keep(made)
    finally:
        made.close()
    print(f"{kept.name}: {kept.stat().st_size} bytes")  # noqa: T201 - it is a command

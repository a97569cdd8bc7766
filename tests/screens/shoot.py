"""Draw the pictures of docs/screens by the real programs on loopback: `make screenshots`. Needs tmux and bash.

Alice hosts, Bob owns; two more hosts are there to choose from. What is drawn is what a terminal of 80 columns shows.
"""

import os
import random
import sys
from pathlib import Path
from typing import Final

from e2e.harness import Home, World, wait_until
from screens.pane import Pane

SCREENS: Final = Path(__file__).parents[2] / "docs" / "screens"
USUAL: Final = ".local/share/backup-peer"
"""Where a home is that nobody names: so commands are shown as most people type them."""
_FILES, _FILE_BYTES = 40, 12_000_000


def make_photos(folder: Path) -> None:
    """Write what can't be compressed, as photos can't: half a gigabyte."""
    folder.mkdir(parents=True)
    noise = random.Random(1)
    for number in range(_FILES):
        (folder / f"{number:04}.jpg").write_bytes(noise.randbytes(_FILE_BYTES))


def open_pane(name: str, home: Home, folder: Path) -> Pane:
    """Open a terminal of one person, whose folder has the home where it usually is."""
    environment = home.environment()
    kept = {key: environment[key] for key in ("BACKUPPEER_SERVERS", "BACKUPPEER_BIND")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    pane = Pane(
        name, kept | {"PATH": path, "PS1": "$ ", "TERM": "xterm-256color", "HOME": str(folder), "LANG": "C.UTF-8"}
    )
    pane.type(f"cd {folder}")
    return pane


def shoot_all(world: World) -> None:
    """Let Alice and Bob do what people do, and draw it."""
    world.start_server()
    alice, _ = world.peer("alice")
    bob, _ = world.peer(f"b/{USUAL}")
    offers = (alice, "40GB", "EU"), (world.peer("carol")[0], "20GB", "EU"), (world.peer("dave")[0], "10GB", "US")
    for host, storage, region in offers:
        host.do("host", "--storage", storage, "--region", region, "--accept", "all", "--detach", "--yes")
    name = alice.peer_id()
    wait_until(lambda: len(bob.do("browse").rows) == len(offers), "all offers to be listed")
    make_photos(world.path / "b" / "photos")
    pane = open_pane(f"screens-{os.getpid()}", bob, world.path / "b")
    try:
        shoot_story(pane, name)
    finally:
        pane.close()


def shoot_story(pane: Pane, host: str) -> None:
    """Choose a host, agree, back up, look."""

    def shoot(stem: str, title: str) -> None:
        pane.shoot(SCREENS / f"{stem}.svg", title)

    pane.run(f"backup-peer connect {host[:12]} --storage 20GB --name alice", answers={"[y/N]": "y"})
    shoot("connect", "Agreeing with a host")
    pane.run("backup-peer backup photos", until=r"[3-7]\d %", answers={"[y/N]": "y"})
    shoot("progress", "A backup under way")
    pane.wait_end()
    shoot("backup", "A backup that is done")
    pane.run("backup-peer peers verify alice", answers={"[yes/no]": "yes"})
    shoot("verify", "Comparing the safety words")
    pane.run("backup-peer audit --now alice")
    pane.run("backup-peer browse")
    shoot("browse", "Who offers space")
    pane.run("backup-peer sessions")
    shoot("sessions", "Who is connected, and how well")
    pane.run("backup-peer doctor")
    shoot("doctor", "What is in order, and what is not")


if __name__ == "__main__":
    SCREENS.mkdir(exist_ok=True)
    made = World()
    try:
        shoot_all(made)
    finally:
        made.close()

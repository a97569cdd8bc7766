"""Stands for the agent's process: takes the home's lock, answers `ping` and `stop`, ends. argv: home, version."""

import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from backuppeer.agent.home.home import Home
from backuppeer.control.api import PingResult
from backuppeer.control.stopping import StopResult
from control.dummy import PEER, Dummy, given


def main(home: Home, version: str) -> None:
    ended = threading.Event()

    async def stop(request, emit):
        ended.set()
        return StopResult(stopped=True)

    with home.lock() as is_mine:
        if not is_mine:
            return
        ping = given(PingResult(version=version, pid=os.getpid(), peer_id=PEER))
        with (home.path / "started").open("a") as log:
            log.write(f"{os.getpid()}\n")
        with Dummy(home.path / "agent.sock", {"ping": ping, "stop": stop}):
            ended.wait()


if __name__ == "__main__":
    main(Home(Path(sys.argv[1])), sys.argv[2])

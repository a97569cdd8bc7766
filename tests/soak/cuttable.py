"""An agent whose connections break at a signal, and that counts what it took: `python -m soak.cuttable COUNT HOME`.

In tests/. At SIGUSR1 all connections of this agent are gone, as after a change of networks. COUNT: a file that says how
many bytes of packs a host has taken, sent twice or not.
"""

import asyncio
import signal
import sys
from pathlib import Path
from types import FrameType

from backuppeer.agent.peers.sessions import Sessions
from backuppeer.cli import serve
from backuppeer.host.incoming import Incoming

CUT = signal.SIGUSR1


class Cutter:
    """Breaks the connections of all sessions made from now on."""

    def __init__(self) -> None:
        self._made: list[Sessions] = []
        self._closing: set[asyncio.Future[None]] = set()
        make = Sessions.__init__

        def remember(sessions: Sessions, *given: object, **named: object) -> None:
            self._made.append(sessions)
            make(sessions, *given, **named)

        Sessions.__init__ = remember

    def cut(self, _: int, __: FrameType | None) -> None:
        """Have it done by the loop, which runs in this thread."""
        asyncio.get_running_loop().call_soon_threadsafe(self._close)

    def _close(self) -> None:
        for session in [session for sessions in self._made for session in sessions.all()]:
            closing = asyncio.ensure_future(session.connection.close(0, "cut"))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def count_into(path: Path) -> None:
    """Write into a file how many bytes of packs came, after each pack."""
    write, commit = Incoming.write, Incoming.commit
    taken = [0]

    def counted(incoming: Incoming, piece: bytes) -> None:
        write(incoming, piece)
        taken[0] += len(piece)

    def told(incoming: Incoming) -> None:
        commit(incoming)
        path.write_text(str(taken[0]))

    Incoming.write, Incoming.commit = counted, told


def main() -> int:
    signal.signal(CUT, Cutter().cut)
    count_into(Path(sys.argv[1]))
    return serve.main(["--home", sys.argv[2]])


if __name__ == "__main__":
    sys.exit(main())

"""The agent of a home, run with a mishap: `python -m crash.doomed MISHAP POINT HOME` (in tests/).

It counts from its start. What a power cut would bring back is kept beside the home.
"""

import sys
from pathlib import Path

from backuppeer.cli import serve
from backuppeer.transport.iroh.connection import IrohStream
from backuppeer.transport.lanes.lane import LaneStream
from crash.injector import Injector, Mishap


def main() -> int:
    mishap, at, home = Mishap(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    injector = Injector([home], home.with_name(home.name + ".aside"), mishap, at)
    injector.install()
    for kind in (IrohStream, LaneStream):
        injector.count_sends(kind)
    return serve.main(["--home", str(home)])


if __name__ == "__main__":
    sys.exit(main())

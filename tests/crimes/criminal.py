"""The agent of a host that commits a crime: `python -m crimes.criminal CRIME DONE HOME` (in tests/)."""

import sys
from pathlib import Path

from backuppeer.cli import serve
from crimes.kit import Crime, Criminal


def main() -> int:
    Criminal(Crime(sys.argv[1]), Path(sys.argv[2])).install()
    return serve.main(["--home", sys.argv[3]])


if __name__ == "__main__":
    sys.exit(main())

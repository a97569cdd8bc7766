"""The agent of an owner that waits seconds where the program waits a minute: `python -m crimes.hasty HOME` (in tests/).

Limits are bound where they are imported, so they are changed before anything else is.
"""

import sys

from backuppeer import limits

HASTE = {
    "REPLY_S": 4.0,
    "BULK_STALL_S": 4.0,
    "RETRY_BUDGET_S": 6.0,
    "HEAR_S": 10.0,
    "LEAVE_HEAD_S": 10.0,
    "REFRESH_S": 10.0,
    "LAGGARD_S": 6.0,
}


def main() -> int:
    for name, value in HASTE.items():
        assert hasattr(limits, name)
        setattr(limits, name, value)
    from backuppeer.cli import serve  # noqa: PLC0415 - after that

    return serve.main(["--home", sys.argv[1]])


if __name__ == "__main__":
    sys.exit(main())

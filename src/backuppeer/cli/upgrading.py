"""What a person is told when another version of the program takes over a home.

Knows: how restore points of databases are named (`db`). Must not know: what is in them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backuppeer import __version__
from backuppeer.agent.home.home import Home
from backuppeer.db import find_copies, refuse_foreign

Tell = Callable[[str], None]


def tell_nobody(text: str) -> None:
    """Tell nobody."""
    del text


def check_format(home: Home) -> None:
    """Make sure that this version can open a home before it ends an agent of another one.

    Raises:
        NewerFormatError: it can't: the agent that runs is better left alone.

    """
    from backuppeer.agent.home.state import SCRIPTS  # noqa: PLC0415 - only where versions differ

    refuse_foreign(home.state, len(SCRIPTS))


def tell_replaced(version: str, tell: Tell) -> None:
    """Say that an agent of another version was ended for this one."""
    tell(f"the agent was of version {version}: it was ended, and {__version__} goes on with its jobs")


@contextmanager
def telling_upgrade(home: Home, tell: Tell) -> Iterator[None]:
    """Say, when the block has ended well, which databases of a home it upgraded, and where they are as they were."""
    before = find_copies(home.path)
    yield
    if made := sorted(find_copies(home.path) - before):
        tell(
            f"this home was upgraded to version {__version__}; as it was before it is kept in {home.path}: "
            f"{', '.join(made)} (going back: docs/upgrades.md)"
        )

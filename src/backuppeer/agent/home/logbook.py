"""The agent's log: JSON lines in the home, rotated, without secrets.

Knows: where it lies and how large it may grow. Must not know: what is logged. Addresses of peers stay out; ids are
shortened where they are logged.
"""

import logging
import logging.handlers
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from backuppeer.agent.home.home import Home
from backuppeer.db import explain_full
from backuppeer.errors import LocalError
from backuppeer.limits import LOG_FILE_BYTES, LOG_FILES

_ADDRESS: Final = re.compile(r"(?<![\w./])(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.%\w]+\]):\d{1,5}\b")
"""Of a peer; what stands in a URL is a server's."""


def open_log(home: Home) -> None:
    """Send all logging of this process to `logs/agent.log`.

    Raises:
        LocalError: there can be no such file.

    """
    path = home.logs / "agent.log"
    try:
        home.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_FILE_BYTES, backupCount=LOG_FILES)
    except OSError as exc:
        raise explain_full(exc, "the log", path) or LocalError(
            f"can't write {path}: {exc.strerror}", hint=f"is {home.logs} a folder of yours?"
        ) from exc
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _hide_addresses,
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(os.environ.get("BACKUPPEER_LOG", "INFO").upper())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    sys.excepthook = _log_crash


@contextmanager
def bookkeeping(what: str) -> Iterator[None]:
    """Go on where something worth remembering can't be written: a full disk must not keep owners from their data."""
    try:
        yield
    except LocalError as exc:
        structlog.get_logger().warning("not written down", what=what, reason=exc.message)


def _hide_addresses(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Take peers' addresses out: errors tell a person where they looked, a log is shown to others."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _ADDRESS.sub("(address)", value)
    return event


def _log_crash(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
    """Write what ends the process into the log: its stderr is nobody's when it was started on demand."""
    structlog.get_logger().critical("the agent crashed", exc_info=(kind, exc, trace))
    sys.__excepthook__(kind, exc, trace)

"""A second copy of the few settings without which a home that lost its state could not be found again.

Knows: one small file beside the database. Must not know: what the settings mean. What stands here lets a host go on
after its database was lost: where its store lies, what is on offer, at which ports its partners look for it.

`anchor.json`: {"version": 1, "settings": {key: value in hex}}. Read only where the database has no such setting. It is
a convenience: one that can't be read is empty, one that can't be written (a full disk) is logged, never an error.
"""

import threading
from pathlib import Path
from typing import Final

import msgspec
import structlog

from backuppeer.agent.home.home import write_private
from backuppeer.limits import ANCHOR_BYTES

_log = structlog.get_logger()
_VERSION: Final = 1


class _Content(msgspec.Struct, frozen=True):
    version: int
    settings: dict[str, str]


class Anchor:
    """The copy at `path`. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._settings = _read(path)

    def get(self, key: str) -> bytes | None:
        """Return the value kept, or None."""
        with self._lock:
            return self._settings.get(key)

    def put(self, key: str, value: bytes) -> None:
        """Keep a value, durably where the disk lets us."""
        with self._lock:
            if self._settings.get(key) == value:
                return
            self._settings[key] = value
            content = _Content(_VERSION, {name: held.hex() for name, held in self._settings.items()})
            try:
                write_private(self._path, msgspec.json.encode(content))
            except OSError as exc:
                _log.warning("the second copy of settings can't be written", reason=str(exc))


def _read(path: Path) -> dict[str, bytes]:
    try:
        with path.open("rb") as file:
            content = msgspec.json.decode(file.read(ANCHOR_BYTES), type=_Content)
        if content.version != _VERSION:
            _log.warning("the second copy of settings is of another version", version=content.version)
            return {}
        return {key: bytes.fromhex(value) for key, value in content.settings.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:  # msgspec's errors are ValueErrors
        _log.warning("the second copy of settings can't be read", reason=str(exc))
        return {}

"""Secrets that a test's commands printed or were typed, and whether any of them stands in a log.

Every world asks at its end, so that each end-to-end test is one of the log, too: words, invites, spoken codes,
passphrases, keys; and addresses at which peers were met.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

KEYS = ("words", "invite", "code", "passphrase")
"""Fields of JSON output whose text opens something."""
RUN = 3
"""So many of the 24 words in their order are no chance."""
LEAST = 8
MOST = 4096
ADDRESS = re.compile(r"(?<!ws://)(?<!\d)\d{1,3}(?:\.\d{1,3}){3}:\d{2,5}")


class Leaks:
    """What must stand in no log."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()

    def hear(self, lines: Iterable[str]) -> None:
        """Learn from the JSON lines that a verb printed."""
        for line in lines:
            said = _read(line)
            for key in KEYS:
                if isinstance(said.get(key), str):
                    self._learn(str(said[key]))

    def hear_typed(self, text: str) -> None:
        """Learn from what was given on standard input; what is long is data."""
        if len(text) <= MOST:
            for line in text.splitlines():
                self._learn(line.strip())

    def find(self, folder: Path) -> list[str]:
        """Return where a secret, the bytes of a key, or an address stands in the logs of the homes in a folder."""
        return [found for home in folder.glob("*/logs") for found in self._find_in(home.parent)]

    def _find_in(self, home: Path) -> Iterator[str]:
        logs = {path.name: path.read_text("utf-8", "replace") for path in home.glob("logs/*") if path.is_file()}
        keys = [path.read_bytes().hex() for path in home.glob("keys/*") if path.is_file()]
        pieces = {key[at : at + 64] for key in keys for at in range(0, max(1, len(key) - 63), 2) if len(key) >= 64}
        for name, text in logs.items():
            yield from (f"{name}: {secret}" for secret in self.secrets if secret in text)
            yield from (f"{name}: a key" for piece in pieces if piece in text)
            yield from (f"{name}: {found}" for found in ADDRESS.findall(text))

    def _learn(self, text: str) -> None:
        words = text.split()
        if len(words) >= RUN:
            self.secrets |= {" ".join(words[at : at + RUN]) for at in range(len(words) - RUN + 1)}
        elif len(text) >= LEAST:
            self.secrets.add(text)


def _read(line: str) -> dict[str, object]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}

"""In which line of `config.toml` a slip stands, for who has to mend it.

Knows: tables and keys of TOML as people write them. Must not know: which settings there are. It looks for the key that
a message names, so it finds what is told of whatever check told it; where it finds none, no line is said.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Final

_AT_LINE: Final = re.compile(r"\(at line (\d{1,9}), column \d+\)")
_TABLE: Final = re.compile(r"\s*\[+\s*(?P<name>[^\]]+?)\s*\]+\s*(#.*)?")
_KEY: Final = re.compile(r"\s*(?P<name>(?:\"[^\"]*\"|'[^']*'|[A-Za-z0-9_.-])+)\s*=")
Path = tuple[str, ...]


def find_line(text: str, message: str) -> int | None:
    """Return the number of the line, from 1 on, that a message about a text is of; None where that is not to be seen.

    The message names a key by its whole path (`sets.photos.copies`), its table and itself (`copies in sets.photos`,
    `sets.photos: copies is below 1`), or its table alone; of several the longest path counts.
    """
    if found := _AT_LINE.search(message):
        return int(found[1])
    try:
        paths = sorted(_list_paths(tomllib.loads(text)), key=len, reverse=True)
    except tomllib.TOMLDecodeError:
        return None
    lines = _list_lines(text)
    return next((lines[path] for path in paths if path in lines and _is_named(path, message)), None)


def _is_named(path: Path, message: str) -> bool:
    whole, table, key = ".".join(path), ".".join(path[:-1]), path[-1]
    if message.endswith(f": {key!r}"):
        return True  # not a name: 'old photos'
    if not table:
        return _has(message, f"key {key}") or (message.startswith(key) and not _has(message, f"{key}."))
    return (
        _has(message, whole)
        or _has(message, f"{key} in {table}")
        or message.startswith(whole)
        or any(message.startswith(f"{'.'.join(path[:at])}: {'.'.join(path[at:])}") for at in range(1, len(path)))
    )


def _has(message: str, words: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(words)}(?![\w-])", message) is not None


def _list_paths(table: Mapping[str, object], before: Path = ()) -> Iterator[Path]:
    for key, value in table.items():
        yield (*before, key)
        if isinstance(value, Mapping):
            yield from _list_paths(value, (*before, key))


def _list_lines(text: str) -> dict[Path, int]:
    """Return where each table and each key is first written."""
    found: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TABLE.fullmatch(line):
            table = _split(header["name"])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_split(key["name"])), number)
    return found


def _split(name: str) -> Path:
    return tuple(part.strip().strip("\"'") for part in name.split("."))

"""A report for whoever helps: what `doctor` found, what runs here, the end of the log; without secrets.

Knows: what may be in it. Must not know: how anything was found. Nothing is copied whole: fields are named one by one,
and from every text what looks like a path, an address, a long key or a run of words is taken out. Peers have numbers in
place of names and ids, unless these are asked for; sets always have. Reasons in the log go with names: a peer may stand
there by a name that it has no more.
"""

import json
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from backuppeer import __version__
from backuppeer.agent.home.sets import DEFAULT_SET
from backuppeer.cli.checkup.findings import Finding, State
from backuppeer.control.sessions import SessionRow
from backuppeer.errors import ExitCode
from backuppeer.limits import BUNDLE_LINES, BUNDLE_READ_BYTES, BUNDLE_TEXT_CHARS

_KEPT_OF_LOG: Final = ("timestamp", "level", "event", "version", "nat")
_REASONS_TOLD: Final = frozenset(
    (
        *("session ended", "connection turned away", "request ended early", "no relay", "nothing agreed on"),
        *("owner not reached", "the agent can't run", "a session is looked for again"),
    )
)
"""Events of the log whose reasons are of the network; of all others they may name files."""
_URL: Final = re.compile(r"\b(?:wss?|https?|socks5h?)://[^\s`\"',;)]+")
_PEER: Final = re.compile(r"\bbp1[02-9ac-hj-np-z]{4,}…?")
_HELD: Final = re.compile(f"{_URL.pattern}|{_PEER.pattern}")
"""What stays where it may; without a password."""
_ADDRESSES: Final = (
    re.compile(r"(?<!\d)(?:\d{1,3}\.){3}\d{1,3}(?!\d)"),
    re.compile(r"\[[0-9A-Fa-f:.]{2,}(?:%\w+)?\]"),
    re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?!\w)"),
)
_TIME: Final = re.compile(r"(?<![\w:])(?:\d{4}-\d\d-\d\d[T ])?\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?(?![\w:])")
_PATH: Final = re.compile(r"(?<![\w<:/])~?/.*(?=: )|(?<![\w<:/])~?/.*")
"""To the last colon: what stands behind that is what was wrong."""
_KEY: Final = re.compile(r"\b[0-9A-Fa-f]{24,}\b|\b[A-Za-z0-9+_-]{40,}={0,2}")
_QUOTED: Final = re.compile(r"(?<!\w)'[^']*'|\"[^\"]*\"")
_WORDS: Final = re.compile(r"\b(?:[a-z]{3,8} ){11,}[a-z]{3,8}\b")
_WORD: Final = re.compile(r"[A-Za-z]+")
_BETWEEN: Final = 8
"""Signs and spaces between two words that were typed one after the other: `1. absent, 2. acid`."""
_FEW: Final = 6
"""So many words of the list in a row are no sentence."""
_TOLD_BY_AGENT: Final = frozenset({"alarms", "schedule"})
"""Links whose texts name peers that may have no finding of their own."""


class Cleaner:
    """Takes out of texts what a report must not have.

    names: of peers, by which they are called in texts. sets: names of backup sets.
    """

    def __init__(self, names: Mapping[str, str], *, home: Path, is_open: bool, sets: Iterable[str] = ()) -> None:
        self.is_open = is_open
        self._home = str(home)
        self._peers = {called: f"peer {number}" for called, number in names.items() if called}
        kept = (name for name in dict.fromkeys(sets) if name and name != DEFAULT_SET)
        self._sets = {name: f"set {number}" for number, name in enumerate(kept, 1)}

    def clean(self, text: str) -> str:
        """Return a text fit for a report."""
        text = text.replace(self._home, "HOME")
        if not self.is_open:
            text = _clean_addresses(_PEER.sub("<peer>", _replace(text, self._peers, r"\w")))
        text = _replace(_hide_words(text), self._sets, r"\w-")
        held = _HELD.findall(text)
        text = _WORDS.sub("<words>", _QUOTED.sub("<quoted>", _HELD.sub("\0", text)))
        text = _KEY.sub("<key>", _PATH.sub("<path>", text))
        for url in held:
            text = text.replace("\0", _without_password(url), 1)
        return text[:BUNDLE_TEXT_CHARS]


def _replace(text: str, names: Mapping[str, str], part: str) -> str:
    """Put others in place of names, the longest first, in one pass: what was put in is no name. part: of a word."""
    if not names:
        return text
    one_of = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![{part}])(?:{one_of})(?![{part}])", lambda found: names[found[0]], text)


def _hide_words(text: str) -> str:
    """Take out words of the list that stand in a row, however they are written."""
    from backuppeer.crypto.words import list_words  # noqa: PLC0415 - crypto libraries

    listed, rows = frozenset(list_words()), list[list[int]]()
    for found in _WORD.finditer(text):
        if found[0].lower() not in listed:
            continue
        start, end = found.span()
        if rows and start - rows[-1][1] <= _BETWEEN and not _WORD.search(text, rows[-1][1], start):
            rows[-1] = [rows[-1][0], end, rows[-1][2] + 1]
        else:
            rows.append([start, end, 1])
    for start, end, count in reversed(rows):
        if count >= _FEW:
            text = f"{text[:start]}<words>{text[end:]}"
    return text


def _clean_addresses(text: str) -> str:
    """Take addresses out; a time of day looks like one of IPv6."""
    times = _TIME.findall(text)
    text = _TIME.sub("\0", text)
    for shape in _ADDRESSES:
        text = shape.sub("<address>", text)
    for moment in times:
        text = text.replace("\0", moment, 1)
    return text


def _without_password(url: str) -> str:
    head, colon, tail = url.partition("://")
    return f"{head}{colon}{tail.rpartition('@')[2]}"


def build_report(
    findings: Sequence[Finding], sessions: Sequence[SessionRow], log: Sequence[str], cleaner: Cleaner
) -> bytes:
    """Return a report as JSON, to be read by people."""
    found = [{key: cleaner.clean(str(value)) for key, value in msgspec.to_builtins(each).items()} for each in findings]
    report = {
        "program": f"backup-peer {__version__}",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "findings": found,
        "sessions": [_describe_session(row) for row in sessions],
        "log": [line for line in (_clean_line(line, cleaner) for line in log[-BUNDLE_LINES:]) if line],
    }
    return (json.dumps(report, indent=2, ensure_ascii=True) + "\n").encode()


def hide_named(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings without texts in which peers may be named of whom nothing is known here."""
    return [
        msgspec.structs.replace(found, text="left out: it may name peers") if _may_name(found) else found
        for found in findings
    ]


def _may_name(found: Finding) -> bool:
    # 1: these are words of our own, of a look that came to nothing.
    return found.link in _TOLD_BY_AGENT and found.state == State.BROKEN and found.code != ExitCode.UNEXPECTED


def _describe_session(row: SessionRow) -> dict[str, Any]:
    return {
        "state": row.state,
        "path": row.path,
        "rtt_ms": row.rtt_ms,
        "sent_bytes": row.sent_bytes,
        "since": row.since,
    }


def _clean_line(line: str, cleaner: Cleaner) -> dict[str, str] | None:
    """Return what may be told of a line of the log; None for what is none of ours."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    is_told = cleaner.is_open and told.get("event") in _REASONS_TOLD
    kept = (*_KEPT_OF_LOG, "reason") if is_told else _KEPT_OF_LOG
    return {key: cleaner.clean(str(told[key])) for key in kept if key in told}


def read_log(path: Path) -> list[str]:
    """Return the last lines of the agent's log; none where there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - BUNDLE_READ_BYTES))
            data = file.read(BUNDLE_READ_BYTES)
    except OSError:
        return []
    lines = data.decode(errors="replace").splitlines()
    return lines if size <= BUNDLE_READ_BYTES else lines[1:]

"""Values into words for a terminal: names made harmless, tables, times.

Knows: which characters may reach a terminal; the rich library, imported when a table is drawn (start-up time). Must
not know: verbs, routes. A peer, a server or a file name may not paint the terminal: everything that
isn't printable is escaped, a byte that is not UTF-8 as backslash, x and two hex digits.
"""

import json
import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from backuppeer.cli.units import format_duration, format_size
from backuppeer.trust.conduct import find_word
from backuppeer.trust.score import write_below

PIPE_COLUMNS: Final = 4096
"""Width for output that is not a terminal: nothing is cut there."""
_GAP: Final = "  "
_BELOW: Final = "    "
_EASY: Final = 24
_CELL: Final = 4
"""Columns that a shortened cell has at least."""
_WORD: Final = re.compile(r" *(?:[^ `]*`backup-peer [^`]*`[^ ]*|[^ ]+)")
"""A command in backquotes is one word: in two lines it can't be pasted."""
_COMMAND: Final = re.compile(
    r"`backup-peer [a-z](?![^`]*(?:--home|--help))[^`]*(?=`(?! there\b| on the other machine\b))"
)
"""A command that is to be run here: one for another person is followed by `there`, or `on the other machine`."""
_COLOR: Final = re.compile("\x1b\\[[0-9;]*m")
ID_CHARS: Final = 13
"""`bp1` and ten characters: enough to be a prefix among what is shown (DESIGN 3 asks for eight)."""


REQUEST_CHARS: Final = 8
"""Of a request's id, which is 32 random hex digits: any start of it that fits one request is understood."""


def escape_name(text: str) -> str:
    """Return a file name or path fit for a terminal; two different names never look the same."""
    return text if text.isprintable() and "\\" not in text else "".join(map(_escape_character, text))


def escape_line(text: str) -> str:
    """Return a message fit for a terminal, on one line; backslashes stay as they are."""
    return text if text.isprintable() else "".join(c if c == "\\" else _escape_character(c) for c in text)


def _escape_character(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    if 0xDC80 <= code <= 0xDCFF:
        # surrogateescape: a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def measure_width(text: str) -> int:
    """Return how many columns of a terminal a text takes; never less than it does."""
    return len(text) + sum(unicodedata.east_asian_width(character) in "WF" for character in text)


def strip_color(text: str) -> str:
    """Return a text without the colours that `Screen.paint` put into it."""
    return _COLOR.sub("", text)


def wrap_line(text: str, width: int, *, indent: str = "") -> str:
    """Return a line broken at spaces into parts of at most `width` columns; those after the first begin with `indent`.

    A longer word stays whole: ids, addresses, paths and commands must come out of a terminal unbroken. Colours take no
    room.
    Spaces within a part stay as they are, for columns that were lined up by hand.
    """
    parts: list[str] = []
    part, used = "", 0
    for word in _WORD.findall(text):
        room = measure_width(strip_color(word))
        if used + room > width and part.strip():
            parts.append(part)
            part, used = indent + word.lstrip(" "), len(indent) + room - (len(word) - len(word.lstrip(" ")))
        else:
            part, used = part + word, used + room
    return "\n".join([*parts, part])


def add_home(text: str, home: str) -> str:
    """Return a text whose commands for this machine have the option `home`, so that they can be pasted."""
    return _COMMAND.sub(lambda found: f"{found[0]} {home}", text) if home else text


def encode_line(value: object) -> str:
    """Return one line of ASCII JSON; lone surrogates are escaped as JSON escapes them."""
    return json.dumps(value, separators=(",", ":"))


def shorten_id(text: str) -> str:
    """Return the start of a peer id, long enough to be typed as a prefix."""
    return escape_line(text[:ID_CHARS])


def shorten_request(text: str) -> str:
    """Return the start of a request's id, the same wherever it is shown."""
    return escape_line(text[:REQUEST_CHARS])


def name_peer(peer_id: str, alias: str) -> str:
    """Return how a peer is called in a sentence: `alice (bp1…)`, or its short id."""
    return f"{escape_line(alias)} ({shorten_id(peer_id)})" if alias else shorten_id(peer_id)


def write_peer(peer_id: str, alias: str) -> str:
    """Return how a peer is called in a command, as a shell needs it: `'old alice'`, or its short id."""
    return escape_line(shlex.quote(alias)) if alias else shorten_id(peer_id)


def format_moment(text: str) -> str:
    """Return an RFC 3339 time as local time for people, `2026-11-22 21:30`; empty stays empty."""
    moment = _parse_moment(text)
    return escape_line(text) if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M")


def count_free(agreed_bytes: int, used_bytes: int, room_bytes: int | None) -> int:
    """Return how many bytes may go to a peer now. room_bytes: what is held back leaves so many; None: nothing is."""
    free = max(0, agreed_bytes - used_bytes)
    return free if room_bytes is None else min(free, room_bytes)


def say_later(size_bytes: int, moment: str) -> str:
    """Return what is erased when, to follow "x free now"; "" when nothing that was deleted waits for that."""
    return f", {format_size(size_bytes)} more on {format_moment(moment)} at the soonest" if size_bytes else ""


def format_trust(trust: float, level: str, capped: Iterable[str] = (), *, limit: float = 0.0) -> str:
    """Return a score with the word beside it, `0.62 fair`. capped: what holds it down, as the agent says it.

    limit: below which it does not seem to reach it (`write_below`).
    """
    return f"{write_below(trust, limit)} {escape_line(find_word(level, capped))}"


def say_trust(score: str, reason: str) -> str:
    """Return a score as `format_trust` makes it with the strongest reason for it, as every screen says it."""
    return f"{score}: {escape_line(reason)}" if reason else score


def say_further(capped: Iterable[str], reason: str) -> list[str]:
    """Return what else holds a score down than the reason that is said beside it, fit for a terminal."""
    return [escape_line(text) for text in capped if text != reason]


def format_until(text: str, now_s: float) -> str:
    """Return how long it is from `now_s` (Unix seconds) until an RFC 3339 time."""
    moment = _parse_moment(text)
    if moment is None:
        return escape_line(text)
    rest = moment.timestamp() - now_s
    return format_duration(rest) if rest >= 60 else "< 1 m" if rest > 0 else "over"


def _parse_moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def format_count(count: int, noun: str, nouns: str = "") -> str:
    """Return `1 file`, `1,234 files`; `nouns` is a plural that takes more than an s."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. `keep`: never shortened. Columns stand in the order of their importance.

    `spare`: left out, the last of them first, before a column that may be shortened has less than EASY characters.
    `below`: of the last one: where the table is too narrow for it, its cells stand whole in lines below their rows.
    """

    title: str
    justify: Literal["left", "right"] = "left"
    keep: bool = False
    spare: bool = False
    below: bool = False


def draw_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int, color: bool) -> str:
    """Return a table of at most `width` columns; cells must be escaped already.

    What is too wide is shortened, with an ellipsis; where that is not enough, columns are left out from the right.
    Colours take no room.
    Times, ids and sizes are whole or not there: half a date says nothing, and may say something else.
    """
    below: Sequence[str] = ()
    if columns[-1].below and _measure(columns, rows) > width:
        below = [wrap_line(_BELOW + row[-1], width, indent=_BELOW) for row in rows]
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    columns, rows = _leave_out_spare(columns, rows, width)
    lines = [[column.title for column in columns], *rows]
    natural = [max(_measure_cell(line[number]) for line in lines) for number in range(len(columns))]
    shown = _count_fitting(columns, natural, width)
    columns, natural = columns[:shown], natural[:shown]
    widths = _fit_widths(columns, natural, width - len(_GAP) * (shown - 1))
    drawn = [_draw_row(columns, line[:shown], widths) for line in lines]
    if color:
        drawn[0] = f"\x1b[1m{drawn[0]}\x1b[0m"
    if below:
        drawn = [drawn[0], *(text for pair in zip(drawn[1:], below, strict=True) for text in pair)]
    return "\n".join(drawn) + "\n"


def _measure(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    """Return how many columns of a terminal a table takes that nothing is left out of, but for what may be."""
    shown = [number for number, column in enumerate(columns) if not column.spare]
    widths = [
        max(measure_width(strip_color(cell)) for cell in (columns[n].title, *(row[n] for row in rows))) for n in shown
    ]
    return sum(widths) + len(_GAP) * (len(shown) - 1)


def _measure_cell(cell: str) -> int:
    from rich.cells import cell_len  # noqa: PLC0415 - only when a table is drawn

    return cell_len(strip_color(cell))


def _leave_out_spare(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> tuple[Sequence[Column], Sequence[Sequence[str]]]:
    wanted = [max(_measure_cell(cell) for cell in (c.title, *(r[n] for r in rows))) for n, c in enumerate(columns)]
    wanted = [each if column.keep else min(each, _EASY) for column, each in zip(columns, wanted, strict=True)]
    shown = list(range(len(columns)))
    for number in reversed([n for n, column in enumerate(columns) if column.spare]):
        if sum(wanted[n] for n in shown) + len(_GAP) * (len(shown) - 1) > width:
            shown.remove(number)
    return [columns[n] for n in shown], [[row[n] for n in shown] for row in rows]


def _count_fitting(columns: Sequence[Column], natural: Sequence[int], width: int) -> int:
    """Return how many columns, from the left, fit when all are as narrow as they may be; at least one."""
    used = 0
    for number, column in enumerate(columns):
        used += _narrowest(column, natural[number]) + (len(_GAP) if number else 0)
        if used > width:
            return max(1, number)
    return len(columns)


def _narrowest(column: Column, natural: int) -> int:
    return natural if column.keep else min(natural, max(_CELL, len(column.title)))


def _fit_widths(columns: Sequence[Column], natural: Sequence[int], room: int) -> list[int]:
    """Take from the widest column that may be shortened until all fit."""
    widths = list(natural)
    while sum(widths) > room:
        able = [n for n, column in enumerate(columns) if widths[n] > _narrowest(column, natural[n])]
        if not able:
            break
        widths[max(able, key=widths.__getitem__)] -= 1
    return widths


def _draw_row(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    from rich.cells import set_cell_size  # noqa: PLC0415 - knows how wide a character is drawn

    drawn = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        missing = width - _measure_cell(cell)
        if missing < 0:
            drawn.append(set_cell_size(strip_color(cell), width - 1).rstrip() + "…")
        else:
            drawn.append(" " * missing + cell if column.justify == "right" else cell + " " * missing)
    return _GAP.join(drawn).rstrip()

"""The words of a notification: title and body, as plain text.

Knows: troubles, caps. Must not know: who is told, how. Names and reasons may come from peers: nobody may paint, call
others or place a link with them in the window of a service.
"""

import unicodedata
from collections.abc import Sequence
from typing import Final

import msgspec

from backuppeer.agent.notifications.trouble import Trouble
from backuppeer.limits import NOTIFY_BODY_CHARS, NOTIFY_LINE_CHARS, NOTIFY_LINES

_SEE: Final = "Commands are typed on that machine; `backup-peer status` there has all of it."


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent: plain text, at most NOTIFY_BODY_CHARS of body."""

    title: str
    body: str


def clean_line(text: str) -> str:
    """Return a text as one line of printable characters, in which no service finds a link or a person to call."""
    printable = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in text)
    tame = " ".join(printable.split()).replace("://", ": //").replace("@", "(at)")
    return tame if len(tame) <= NOTIFY_LINE_CHARS else f"{tame[: NOTIFY_LINE_CHARS - 1]}…"


def write_message(machine: str, new: Sequence[Trouble], solved: Sequence[str]) -> Message:
    """Return what tells of new troubles and of those that are over. machine: whose home it is about."""
    parts = [_write_trouble(trouble) for trouble in new[:NOTIFY_LINES]]
    if (more := len(new) - NOTIFY_LINES) > 0:
        parts.append(f"… and {more} more.")
    parts += [f"Solved: {clean_line(text)}" for text in solved[:NOTIFY_LINES]]
    if (more := len(solved) - NOTIFY_LINES) > 0:
        parts.append(f"… and {more} more are solved.")
    return Message(title=_write_title(machine, len(new), len(solved)), body=cut_body([*parts, _SEE]))


def cut_body(paragraphs: Sequence[str]) -> str:
    """Return paragraphs as one text, without those in the middle that don't fit; the last always stands."""
    *first, last = paragraphs
    room, kept = NOTIFY_BODY_CHARS - len(last) - 4, list[str]()
    for paragraph in first:
        room -= len(paragraph) + 2
        if room < 0:
            kept.append("…")
            break
        kept.append(paragraph)
    return "\n\n".join([*kept, last])


def _write_title(machine: str, new: int, solved: int) -> str:
    told = f"{new} {'troubles' if new > 1 else 'trouble'}" if new else ""
    over = f"{solved} solved" if solved else ""
    return f"Backup Peer on {clean_line(machine)}: {', '.join(filter(None, (told, over)))}"


def _write_trouble(trouble: Trouble) -> str:
    text = clean_line(trouble.text)
    ended = text if text.endswith((".", "…")) else f"{text}."
    return f"{ended[:1].upper()}{ended[1:]}" + (f"\n→ {clean_line(trouble.fix)}" if trouble.fix else "")

"""How a recovery kit looks: as a page of HTML with a QR code, and as text.

Knows: layout. Must not know: where it goes, or what is true. One file without script, without anything fetched: it is
opened once, printed, and must look the same in ten years.
"""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import segno

from backuppeer.cli.render import escape_line, wrap_line

if TYPE_CHECKING:
    from backuppeer.cli.kit import Kit

WORDS: Final = 24
_COLUMNS: Final = 4
_TEXT_COLUMNS: Final = 78
_STEPS: Final = (
    "Install the program on any machine with Linux and Python 3.11 or later, as its README says.",
    "Run `backup-peer recover` and type the 24 words. It finds your hosts and the list of your snapshots.",
    "If that finds nobody, run the command below: it names servers and hosts as they were when this was printed.",
    "`backup-peer snapshots` shows what there is, `backup-peer restore latest --target DIR` brings it back.",
    "Was a machine of yours stolen? Run `backup-peer recover --new-identity`: your hosts shut out whoever has it.",
    "Once a year, `backup-peer recover --check` tries the words and changes nothing.",
)
_WARNING: Final = "Whoever has these words has your backups. Keep this page as you keep money."
_STYLE: Final = (
    "body{font:11pt/1.45 sans-serif;max-width:18cm;margin:1.2cm auto;color:#000;background:#fff}"
    "h1{font-size:17pt;margin:0 0 2pt}h2{font-size:12pt;margin:14pt 0 4pt}"
    "code{font:9.5pt monospace;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}"
    "td{border:1px solid #888;padding:5pt 6pt;width:25%;height:15pt}td b{font-weight:400;color:#555;margin-right:5pt}"
    "figure{float:right;margin:0 0 6pt 10pt;text-align:center;font-size:8pt}svg{width:4.2cm;height:4.2cm}"
    ".warn{border:2px solid #000;padding:5pt 8pt;margin:8pt 0}@media print{body{margin:0}}"
)


def draw_text(kit: "Kit") -> str:
    """Return the kit as text of at most 78 columns, but for what must not be broken: ids, contacts, the command."""
    lines = ["RECOVERY KIT of backup-peer", f"made {kit.made} for", kit.peer_id, "", *_numbered(), ""]
    lines += ["The 24 words" + ("" if kit.words else " (write them here by hand)") + ":", "", *_word_lines(kit), ""]
    lines += [
        *_wrap(_WARNING),
        "",
        "Servers:",
        *(f"  {escape_line(url)}" for url in kit.servers or ("none",)),
        "",
        "Hosts:",
    ]
    for host, contact in kit.hosts or (("none yet: make a new kit once there are", ""),):
        lines += [*_wrap(f"  {escape_line(host)}", hang=4), *([f"    {contact}"] if contact else [])]
    return "\n".join([*lines, "", "The command with all of it:", *_fold(kit), ""])


def draw_html(kit: "Kit") -> str:
    """Return the kit as one page of HTML."""
    hosts = [
        f"<li>{_safe(host)}" + (f"<br><code>{_safe(contact)}</code>" if contact else "") for host, contact in kit.hosts
    ]
    title = f"Recovery kit of {kit.peer_id[:16]}"
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            # Nothing may be fetched or run, whatever a name of a peer looks like.
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{_safe(title)}</title><style>{_STYLE}</style></head><body>",
            _draw_code(kit),
            "<h1>Recovery kit</h1>",
            f"<p>of backup-peer, made {_safe(kit.made)} for<br><code>{_safe(kit.peer_id)}</code></p>",
            "<h2>To get everything back</h2><ol>",
            *(f"<li>{_mark(step)}" for step in _STEPS),
            f"</ol><h2>The 24 words{'' if kit.words else ' (write them here by hand)'}</h2><table>",
            *_word_rows(kit.words),
            f'</table><p class="warn">{_safe(_WARNING)}</p>',
            "<h2>Servers</h2><ul>",
            *(f"<li><code>{_safe(url)}</code>" for url in kit.servers or ("none",)),
            "</ul><h2>Hosts</h2><ul>",
            *(hosts or ["<li>none yet: make a new kit once there are"]),
            f"</ul><h2>The command with all of it</h2><p><code>{_safe(kit.command)}</code></p></body></html>",
            "",
        ]
    )


def _draw_code(kit: "Kit") -> str:
    """Return the QR code: the words if they are in the kit, else the command."""
    text, what = (" ".join(kit.words), "the 24 words") if kit.words else (kit.command, "the command below")
    # The lowest level that still reads with a fold through it; a command with many hosts may be too long for any code.
    try:
        code = segno.make_qr(text, error="m")
    except segno.encoder.DataOverflowError:
        return ""
    return f"<figure>{code.svg_inline(scale=3, border=2)}<br>{what}</figure>"


def _numbered() -> list[str]:
    return [line for number, step in enumerate(_STEPS, 1) for line in _wrap(f"{number}. {step}", hang=3)]


def _wrap(text: str, *, hang: int = 0) -> list[str]:
    """Return prose in lines that fit a terminal and a page; a command in backquotes stays in one."""
    return wrap_line(text, _TEXT_COLUMNS, indent=" " * hang).split("\n")


def _fold(kit: "Kit") -> list[str]:
    """Return the command, if need be in several lines that a shell takes for one: no word of it may break."""
    whole = f"  {escape_line(kit.command)}"
    if len(whole) <= _TEXT_COLUMNS:
        return [whole]
    first, *options = (escape_line(part) for part in kit.command_parts)
    return [*(f"{line} \\" for line in (f"  {first}", *(f"    {each}" for each in options[:-1]))), f"    {options[-1]}"]


def _word_lines(kit: "Kit") -> list[str]:
    rows = WORDS // _COLUMNS
    words = kit.words or ["________"] * WORDS
    return ["".join(f"{n + 1:>4} {words[n]:<12}" for n in range(row, WORDS, rows)).rstrip() for row in range(rows)]


def _word_rows(words: Sequence[str]) -> list[str]:
    rows, shown = WORDS // _COLUMNS, words or [""] * WORDS
    cells = [[f"<td><b>{n + 1}</b>{_safe(shown[n])}" for n in range(row, WORDS, rows)] for row in range(rows)]
    return [f"<tr>{''.join(row)}" for row in cells]


def _safe(text: str) -> str:
    return html.escape(escape_line(text))


def _mark(step: str) -> str:
    """Return a step with what stands between backquotes as code."""
    parts = [_safe(part) for part in step.split("`")]
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))

"""Make the page that a signaling server shows to people at `/` out of docs/privacy.md: `python tools/privacy_page.py`.

Knows: the little Markdown that this document uses. One file, no script, nothing loaded from anywhere. A test keeps
document and page equal.
"""

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "docs" / "privacy.md"
PAGE = ROOT / "src" / "backuppeer" / "signaling" / "server" / "privacy.html"
_STYLE = (
    "body{max-width:60em;margin:2em auto;padding:0 1em;font:16px/1.5 system-ui,sans-serif;color:#222;background:#fff}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}"
    "th,td{border:1px solid #999;padding:.3em .6em;text-align:left;vertical-align:top}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}}"
)


def render(text: str) -> str:
    """Return the page."""
    blocks = "\n".join(_render_block(block) for block in _split(text))
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>BackupPeer signaling server: who learns what</title>\n<style>{_STYLE}</style>\n{blocks}\n</html>\n"
    )


def _split(text: str) -> Iterator[list[str]]:
    """Yield paragraphs, lists and tables as their lines; comments go."""
    for block in re.sub(r"<!--.*?-->\n?", "", text).split("\n\n"):
        lines = [line for line in block.strip("\n").splitlines() if line.strip()]
        if lines:
            yield lines


def _render_block(lines: list[str]) -> str:
    first = lines[0]
    if heading := re.fullmatch(r"(#{1,3}) (.*)", first):
        level = len(heading[1])
        return f"<h{level}>{_inline(heading[2])}</h{level}>"
    if first.startswith("|"):
        return _render_table(lines)
    text = "\n".join(lines)
    if first.startswith("- "):
        items = re.split(r"^- ", text, flags=re.MULTILINE)[1:]
        return "<ul>\n" + "\n".join(f"<li>{_inline(item.strip())}" for item in items) + "\n</ul>"
    return f"<p>{_inline(text)}"


def _render_table(lines: list[str]) -> str:
    rows = [[_inline(cell.strip()) for cell in line.strip("|").split("|")] for line in lines]
    head = "".join(f"<th>{cell}" for cell in rows[0])
    body = "\n".join("<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows[2:])
    return f"<table>\n<tr>{head}\n{body}\n</table>"


def _inline(text: str) -> str:
    """Render code, bold and links; links lead to other documents, which a server does not have: their names stay."""
    made = html.escape(text, quote=False)
    made = re.sub(r"`([^`]+)`", r"<code>\1</code>", made)
    made = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", made)
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", made)


if __name__ == "__main__":
    PAGE.write_text(render(SOURCE.read_text("utf-8")), "utf-8")
    sys.stdout.write(f"{PAGE}\n")

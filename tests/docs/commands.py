"""The commands that the documents tell people to type."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(
    r"(?:^<!-- run: (?P<who>[^>]*?)(?P<on>, goes on)? -->\n)?^```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
"""A shell block; behind `run` in a comment before it, which no reader sees, stands who types it in the tests."""
_PERSONS = ("backup-peer", "alice", "bob")
"""What a command begins with: the program, or a name that a page gave it for one of two homes."""
_JOINTS = {"|", "&&", "&", ";", "||", "<", ">"}
_INNER = re.compile(r"\$\(([^()]*)\)")


@dataclass(frozen=True)
class Block:
    """Lines to type, by whom; `goes_on`: the last one waits for somebody else."""

    page: str
    who: str
    goes_on: bool
    lines: tuple[str, ...]


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield what stands in the shell blocks of a page; a line that ends with a backslash goes on."""
    for found in _BLOCK.finditer(page.read_text()):
        text = found["text"].replace("\\\n", " ")
        lines = tuple(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
        yield Block(page.name, found["who"] or "", bool(found["on"]), lines)


def split_commands(line: str) -> Iterator[list[str]]:
    """Yield the words behind `backup-peer` of each command in a line; what is called otherwise is passed over."""
    for inner in _INNER.findall(line):
        yield from split_commands(inner)
    words: list[str] = []
    for word in [*shlex.split(_INNER.sub("bp1…", line).replace(";", " ; "), comments=True), ";"]:
        if word not in _JOINTS:
            words.append(word)
            continue
        if words and words[0] in _PERSONS:
            yield words[1:]
        words = []

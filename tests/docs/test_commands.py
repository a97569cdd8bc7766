"""Documents name commands: each must be one that this version takes, with these options."""

import io

import pytest

from backuppeer.cli.main import build_command
from backuppeer.cli.options import hoist_options
from backuppeer.cli.screen import Screen
from control.dummy import PEER
from docs.commands import PAGES, read_blocks, split_commands

COMMANDS = [
    (page.name, tuple(words))
    for page in PAGES
    for block in read_blocks(page)
    for line in block.lines
    for words in split_commands(line)
]


def parse(words):
    """Have typer read a command line, to its last option, without running it."""
    whole = (word.replace("bp1…", PEER).replace("@key@", f"@{'a' * 64}@") for word in words)
    front, rest = hoist_options([word for word in whole if word != "--help"])
    app = build_command(Screen((io.StringIO(), io.StringIO(), io.StringIO()), json=False, yes=False), rest[0])
    context, command, left = app.make_context("backup-peer", [*front, *rest]), app, list(rest)
    while hasattr(command, "resolve_command"):
        left = [*context._protected_args, *context.args]
        if not left and command.invoke_without_command:
            return
        name, command, left = command.resolve_command(context, left)
        context = command.make_context(name, left, parent=context)


def test_the_documents_name_many_commands():
    assert len(COMMANDS) > 100


@pytest.mark.parametrize("page", sorted({page for page, _ in COMMANDS}))
def test_each_command_of_a_page_is_one_that_this_version_takes(page):
    for _, words in (pair for pair in COMMANDS if pair[0] == page):
        try:
            parse(words)
        except Exception as exc:
            raise AssertionError(f"{page}: backup-peer {' '.join(words)}: {exc}") from exc


@pytest.mark.parametrize("words", [("backup", "--no-such-option"), ("nonsense",), ("peers", "nonsense")])
def test_a_command_that_does_not_exist_would_be_found(words):
    with pytest.raises(Exception, match=r"(?i)no such"):
        parse(words)

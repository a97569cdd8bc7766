"""`kit`: the recovery kit, a page to print: what somebody needs who has nothing left but paper.

Knows: what it says, in which order. Must not know: how a page is drawn (`kit_page`). It has the words only if `init`
makes it, which has just shown them: no home can give them back.
"""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from backuppeer.agent.home.home import write_private
from backuppeer.cli.contacts import format_contact
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.kit_page import draw_html, draw_text
from backuppeer.cli.render import escape_line
from backuppeer.cli.screen import GREEN
from backuppeer.cli.units import format_size
from backuppeer.control.paper import KitRequest, KitResult
from backuppeer.errors import LocalError, UserError

_HELP: Final = (
    "Make a recovery kit: a page to print and keep with the words.\n\nIt names hosts, servers and what to do. Without "
    "--to it is printed as text; a file that ends in .html is a page with a QR code. The words are not in it, as no "
    "machine keeps them: there is room to write them down, and `init --kit FILE` makes a kit that has them."
)


class KitMade(msgspec.Struct, kw_only=True):
    """`kit`: what was made, and what stands in it; never the words themselves.

    target: the file, empty without --to: then `text` is the page. hosts: how many. peers: who they are, by id. command:
    what brings everything back, with all that it may need. has_words: whether the words stand in it.
    """

    target: str
    hosts: int
    has_words: bool
    peer_id: str
    made: str
    peers: list[str]
    servers: list[str]
    command: str
    text: str


@dataclass(frozen=True, slots=True)
class Kit:
    """What a page says. words: 24, or none to leave room for them. hosts: a line for each, and how it is dialled."""

    peer_id: str
    made: str
    servers: Sequence[str]
    hosts: Sequence[tuple[str, str]]
    words: Sequence[str] = ()

    @property
    def command(self) -> str:
        """The command that brings everything back, with all that it may need."""
        return " ".join(self.command_parts)

    @property
    def command_parts(self) -> list[str]:
        """The command in parts that are never broken: the verb, then each option with its value."""
        # Quoted though it is checked: it is typed, or read from the code, into a shell.
        servers = [f"--server {shlex.quote(url)}" for url in self.servers]
        places = [f"--peer {shlex.quote(contact)}" for _, contact in self.hosts if contact]
        return ["backup-peer recover", *servers, *places]


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="kit", help=_HELP)(kit)


def kit(
    ctx: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="FILE", help="Write it there: a page if it ends in .html.")] = "",
) -> int:
    """Ask the agent who the hosts are, and write the page."""
    context = context_of(ctx)
    screen, client = context.screen, context.client()
    target = check_target(to) if to else None
    told = client.call("kit", KitRequest(servers=context.servers()), KitResult)
    made = _kit_of(told, context.servers())
    if target is None:
        if not screen.json:
            screen.text(draw_text(made))
    else:
        write_kit(target, made)
        say_written(context, target, made)
    client.call("kit", KitRequest(is_made=True), KitResult)
    screen.done(
        KitMade(
            target=str(target or ""),
            hosts=len(made.hosts),
            has_words=False,
            peer_id=made.peer_id,
            made=made.made,
            peers=[host.peer_id for host in told.hosts],
            servers=list(made.servers),
            command=made.command,
            text="" if target else draw_text(made),
        )
    )
    return 0


def first_kit(peer_id: str, words: Sequence[str], servers: Sequence[str]) -> Kit:
    """Return the kit of a home that has just been made: it knows no hosts yet, and its words."""
    return Kit(peer_id=peer_id, made=_today(), servers=servers, hosts=(), words=words)


def check_target(text: str) -> Path:
    """Return where a kit goes, before there is anything to lose.

    Raises:
        UserError: something is there already, or no folder for it is.

    """
    target = Path(text).expanduser().absolute()
    if os.path.lexists(target):
        raise UserError(f"{target} exists already", hint="name another file")
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent}", hint="name a file in one that is there")
    return target


def write_kit(target: Path, made: Kit) -> None:
    """Write a kit for this user alone.

    Raises:
        LocalError: the system refuses.

    """
    is_page = target.suffix.lower() in {".html", ".htm"}
    try:
        write_private(target, (draw_html(made) if is_page else draw_text(made)).encode())
    except OSError as exc:
        raise LocalError(f"{target} can't be written: {exc.strerror}", hint="name a file elsewhere") from exc


def say_written(context: Context, target: Path, made: Kit) -> None:
    """Say what to do with it."""
    screen = context.screen
    screen.line(f"{screen.paint('✓', GREEN)} recovery kit: {escape_line(str(target))}", hang=2)
    if made.words:
        screen.line("  print it, keep it where you keep papers, and delete the file: it has your words", hang=4)
    else:
        screen.line(
            "  print it, and write the 24 words on it by hand; `backup-peer recover --check` tries them", hang=4
        )


def _kit_of(told: KitResult, servers: Sequence[str]) -> Kit:
    hosts = [
        (
            f"{host.alias or 'unnamed'}, {format_size(host.size_bytes)}: {host.peer_id}",
            format_contact(host.place) if host.place else "",
        )
        for host in told.hosts
    ]
    return Kit(peer_id=told.peer_id, made=_today(), servers=servers, hosts=hosts)


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")

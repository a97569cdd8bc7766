"""Kinds of values that people type: what one looks like, and what is none.

Knows: the parsers of the rooms that own each notion, imported only when a value of the kind was typed. Must not know:
which option takes which kind (`table`), typer. A check raises UserError with a message about the value alone: who
calls it knows the option, and puts its name before; a message that begins with `is` is about the option itself. What
only the agent can know (whether a peer or a snapshot exists) is not looked at here.
"""

import errno
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backuppeer.cli.units import parse_moment, parse_share, parse_size
from backuppeer.clock import parse_duration
from backuppeer.errors import UserError
from backuppeer.limits import TYPED_CHARS

_SHOWN: Final = 40
"""Characters of a bad value that a message repeats."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What is in no name: nor bytes that are no text, which Python holds as surrogates."""
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")
_STORES: Final = frozenset({"valkey", "valkeys", "redis", "rediss", "unix"})
_REGIONS: Final = re.compile(r"[A-Za-z]{1,3}(?:-[A-Za-z0-9]{0,3})?")
_PEER_START: Final = "bp1"


@dataclass(frozen=True, slots=True)
class Kind:
    """What one value has to be. example: a good one, as it stands in a hint.

    may_be_empty: an empty text says something, else it is taken for a variable that was not set. is_line: no control
    characters; names of files and patterns for them may have any but NUL. words: all there are, if it is a choice.
    """

    example: str
    check: Callable[[str], object]
    may_be_empty: bool = False
    is_line: bool = True
    words: tuple[str, ...] = ()

    def look_at(self, text: str) -> None:
        """Refuse what is no value of this kind.

        Raises:
            UserError: it is none; the message does not name the option.

        """
        if not text and self.may_be_empty:
            return
        if not (text.strip() if self.is_line else text):
            raise UserError("is empty", hint="was a variable not set?")
        if len(text) > TYPED_CHARS:
            raise UserError(f"{len(text):,} characters are too many", hint=f"the longest is {TYPED_CHARS:,}")
        if "\0" in text or (self.is_line and _CONTROL.search(text)):
            raise UserError(f"{text[:_SHOWN]!r} has a character in it that is no text", hint="was too much copied?")
        self.check(text)


def one_of(*words: str) -> Kind:
    """Return the kind of which there are only these words."""

    def check(text: str) -> None:
        if text not in words:
            raise UserError(f"{text[:_SHOWN]!r} is none of {', '.join(words)}", hint="one of them, as it is written")

    return Kind(words[0], check, words=words)


def some_of(*words: str) -> Kind:
    """Return the kind of lists, with commas between, of these words; an empty one is none of them."""

    def check(text: str) -> None:
        for word in text.replace(" ", "").split(","):
            if word and word not in words:
                raise UserError(
                    f"{word[:_SHOWN]!r} is none of {', '.join(words)}", hint="several are written with commas between"
                )

    return Kind(",".join(words), check, may_be_empty=True, words=words)


def check_anything(_: str) -> None:
    """Any text will do."""


def check_number(text: str) -> None:
    """A whole number; the option itself knows its bounds."""
    if not _WHOLE.fullmatch(text):
        raise UserError(f"not a whole number: {text[:_SHOWN]!r}", hint="digits only")


def check_span(text: str) -> None:
    """A span of time that is not 0."""
    if not parse_duration(text):
        raise UserError("is 0", hint="leave it out for the default")


def check_moment(text: str) -> None:
    """A time, or so long ago."""
    parse_moment(text, time.time())


def check_peer(text: str) -> None:
    """An id, the start of one, or a name; whether it is known, the agent says."""
    from backuppeer.ids import MIN_PREFIX, PEER_ID_CHARS, parse_peer_id  # noqa: PLC0415 - start-up time

    text = text.strip()
    if not text.lower().startswith(_PEER_START):
        return
    if len(text) >= PEER_ID_CHARS:
        parse_peer_id(text)
    elif len(text) < len(_PEER_START) + MIN_PREFIX:
        raise UserError(
            f"{text!r} is too short for a peer id",
            hint=f"give at least {MIN_PREFIX} characters after bp1, or the whole id",
        )


def check_contact(text: str) -> None:
    """A whole id, or where its machine is."""
    from backuppeer.cli.contacts import parse_contact, parse_host_id  # noqa: PLC0415 - start-up time

    if "@" in text:
        parse_contact(text)
    else:
        parse_host_id(text)


def check_alias(text: str) -> None:
    """A name of one's own for a peer."""
    from backuppeer.agent.peers.names import check_form  # noqa: PLC0415 - start-up time

    check_form(text)


def check_set(text: str) -> None:
    """A name of a backup set."""
    from backuppeer.agent.home.sets import check_name  # noqa: PLC0415 - start-up time

    check_name(text)


def check_tag(text: str) -> None:
    """A tag of a snapshot."""
    from backuppeer.backup.amending import check_tags  # noqa: PLC0415 - start-up time

    check_tags([text])


def check_region(text: str) -> None:
    """A coarse region."""
    from backuppeer.signaling.listing import is_region  # noqa: PLC0415 - crypto libraries

    if not is_region(text):
        raise UserError(
            f"{text[:_SHOWN]!r} is no region",
            hint="two or three capitals, like EU, and up to three more behind a dash, like US-W",
        )


def check_regions(text: str) -> None:
    """A region, or the beginning of several."""
    if not _REGIONS.fullmatch(text):
        raise UserError(f"{text[:_SHOWN]!r} is no region", hint="like EU or US-W; EU also finds EU-N")


def check_server(text: str) -> None:
    """The address of a signaling server."""
    from backuppeer.signaling.servers import parse_server  # noqa: PLC0415 - start-up time

    parse_server(text)


def check_proxy(text: str) -> None:
    """The address of a proxy, without a password."""
    from backuppeer.cli.homes import refuse_password  # noqa: PLC0415 - start-up time
    from backuppeer.signaling.proxying import parse_proxy  # noqa: PLC0415 - start-up time

    refuse_password(text)
    parse_proxy(text)


def check_key(text: str) -> None:
    """A setting."""
    from backuppeer.agent.home.config import Config, value_of  # noqa: PLC0415 - start-up time

    value_of(Config(), text)


def check_times(text: str) -> None:
    """How many bytes in return for one."""
    from backuppeer.cli.promises import read_times  # noqa: PLC0415 - only for verbs that have it

    read_times(text)


def check_availability(text: str) -> None:
    """A share of the time that is worth a promise."""
    from backuppeer.cli.promises import read_availability  # noqa: PLC0415 - only for verbs that have it

    read_availability(text)


def check_subset(text: str) -> None:
    """A part of the data to be read."""
    from backuppeer.cli.check import read_subset  # noqa: PLC0415 - only for verbs that have it

    read_subset(text, read_data=False)


def check_unused(text: str) -> None:
    """How much of what hosts keep may be waste."""
    from backuppeer.cli.prune import read_unused  # noqa: PLC0415 - only for this verb

    read_unused(text)


def check_cap(text: str) -> None:
    """How much may lie with a stranger."""
    if text in {"none", "default"}:
        return
    try:
        parse_size(text)
    except UserError as exc:
        raise UserError(f"neither a size, none nor default: {text[:_SHOWN]!r}", hint=exc.hint) from exc


def check_listen(text: str) -> None:
    """An address to listen on."""
    from backuppeer.signaling.server.process import parse_listen  # noqa: PLC0415 - websockets

    parse_listen(text)


def check_network(text: str) -> None:
    """An address or a network of a proxy."""
    from backuppeer.signaling.server.hops import Hops  # noqa: PLC0415 - for this verb alone

    Hops([text])


def check_limit(text: str) -> None:
    """A limit of a server, and how much it is."""
    from backuppeer.signaling.server.caps import parse_caps  # noqa: PLC0415 - for this verb alone

    parse_caps([text], stamp_bits=0)


def check_rate(text: str) -> None:
    """Bytes a second that are worth to be relayed, or none."""
    from backuppeer.cli.operating import read_rate  # noqa: PLC0415 - for this verb alone

    read_rate(text)


def check_cluster(text: str) -> None:
    """The address of a store, without a password."""
    from backuppeer.cli.operating import refuse_password  # noqa: PLC0415 - for this verb alone

    refuse_password(text)
    if text.partition("://")[0] not in _STORES:
        raise UserError(f"not the address of a Valkey: {text[:_SHOWN]!r}", hint="valkey://HOST:PORT/DATABASE")


def check_observe(text: str) -> None:
    """An IP address and a port."""
    from backuppeer.cli.relaying import read_observe  # noqa: PLC0415 - for this verb alone

    read_observe(text)


def check_relay_url(text: str) -> None:
    """The address of a node's relay."""
    from backuppeer.cli.relaying import read_relay_url  # noqa: PLC0415 - for this verb alone

    read_relay_url(text)


def check_folder(text: str) -> None:
    """A folder, or the place of one that is to be made."""
    path = Path(text).expanduser()
    _reach(path)
    # Not Path's: those raise of what a dead mount answers, and that the verb tells better.
    if os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112
        raise UserError(f"{_show(text)} is a file", hint="name a folder")


def check_file(text: str) -> None:
    """A file, or the place of one that is to be written."""
    path = Path(text).expanduser()
    _reach(path)
    if os.path.isdir(path):  # noqa: PTH112
        raise UserError(f"{_show(text)} is a folder", hint="name a file")


def _reach(path: Path) -> None:
    """Refuse what no system call would take, or what lies below a file."""
    try:
        path.lstat()
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise UserError(f"{_show(os.fspath(path))} can't be: a part of it is a file", hint="is it misspelt?") from None
    except (OSError, ValueError) as exc:
        if isinstance(exc, OSError) and exc.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            return  # the verb says who may look there, or what is broken
        reason = (getattr(exc, "strerror", None) or str(exc)).lower()
        raise UserError(f"{_show(os.fspath(path))} can't be a name: {reason}", hint="is it what you meant?") from None


def _show(text: str) -> str:
    return repr(text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]}…")


COUNT: Final = Kind("3", check_number)
SIZE: Final = Kind("10GB", parse_size)
SPAN: Final = Kind("30d", check_span)
WAIT: Final = Kind("60s", parse_duration)
"""Also 0: not at all."""
SHARE: Final = Kind("0.8", parse_share)
MOMENT: Final = Kind("2026-11-22", check_moment)
TIMES: Final = Kind("1", check_times)
AVAILABILITY: Final = Kind("95%", check_availability)
REGION: Final = Kind("EU", check_region)
REGIONS: Final = Kind("EU", check_regions)
"""In either case, and the beginning is enough."""
ALIAS: Final = Kind("alice", check_alias)
PEER: Final = Kind("alice", check_peer)
WHOM: Final = Kind("alice", check_anything, may_be_empty=True)
"""An id, a name, an invite, or a spoken code: `connect` knows them apart."""
CONTACT: Final = Kind("bp1…", check_contact)
REQUEST: Final = Kind("alice", check_anything)
INVITE: Final = Kind("alice", check_anything)
SET: Final = Kind("photos", check_set)
NAMED_SET: Final = Kind("photos", check_anything)
"""A set that should exist: the message about one that does not lists those that do."""
MACHINE: Final = Kind("laptop", check_anything)
TAG: Final = Kind("holidays", check_tag)
NAMED_TAG: Final = Kind("holidays", check_anything)
TEXT: Final = Kind("'went too far'", check_anything, may_be_empty=True)
PLACE: Final = Kind("latest:/home/me", check_anything, is_line=False)
SNAPSHOT: Final = Kind("latest", check_anything)
PATTERN: Final = Kind("'*.jpg'", check_anything, is_line=False)
PATH: Final = Kind("~/documents", check_anything, is_line=False)
FOLDER: Final = Kind("~/documents", check_folder, is_line=False)
FILE: Final = Kind("notes.txt", check_file, is_line=False)
SERVER: Final = Kind("wss://signal.example", check_server)
PROXY: Final = Kind("socks5://127.0.0.1:9050", check_proxy, may_be_empty=True)
CLUSTER: Final = Kind("valkey://127.0.0.1:6379", check_cluster, may_be_empty=True)
LISTEN: Final = Kind("0.0.0.0:8443", check_listen)
LIMIT: Final = Kind("connections=2000", check_limit)
NETWORK: Final = Kind("10.0.0.0/8", check_network)
OBSERVE: Final = Kind("0.0.0.0:8443", check_observe)
RATE: Final = Kind("20MB", check_rate)
RELAY_URL: Final = Kind("wss://node-1.example", check_relay_url)
CAP: Final = Kind("none", check_cap)
UNUSED: Final = Kind("5%", check_unused)
SUBSET: Final = Kind("5%", check_subset)
SETTING: Final = Kind("EU", check_anything, may_be_empty=True)
"""What a value of which setting may be, `config set` knows."""
KEY: Final = Kind("region", check_key)
SHELL: Final = Kind("bash", check_anything, may_be_empty=True)
"""Behind `--at` they are any words."""

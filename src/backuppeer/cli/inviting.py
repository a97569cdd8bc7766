"""`connect INVITE`: where an invite comes from, and what it leads to.

Knows: standard input, the agent's answer. Must not know: how connecting goes on.
"""

import sys
from typing import Final, NamedTuple

from backuppeer.cli.choosing import Choice, read_storage
from backuppeer.cli.context import Context
from backuppeer.cli.render import escape_line, format_count
from backuppeer.cli.screen import BOLD, GREEN, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size
from backuppeer.control.inviting import InviteOpened, InviteText
from backuppeer.errors import UserError
from backuppeer.limits import INVITE_CHARS
from backuppeer.signaling.invite import is_invite, is_whole
from backuppeer.signaling.nameplate import is_half_code, is_spoken

_STDIN: Final = "-"
_LABEL: Final = 14


class Wanted(NamedTuple):
    """Whom to ask, "" for the best, and for how many bytes. is_known: the words of a spoken code were the same.

    is_invited: an invite led there; its host is asked nothing, and sees who came once there is an agreement.
    """

    peer: str
    size_bytes: int
    is_known: bool = False
    is_invited: bool = False

    def say_words(self) -> str:
        """Return what to do with the safety words before anything is agreed."""
        if self.is_known:
            return "nothing to compare: who told you the code has them, too"
        if self.is_invited:
            return "the other screen shows them once you are connected: compare them then"
        return "the other screen must show the same words; if they differ, stop"


def follow_invite(context: Context, given: str) -> InviteOpened | None:
    """Return where an invite leads, given as it is or by `-` on standard input; None: what is given is none.

    Raises:
        UserError: it is mistyped or over.
        AuthenticationFault: it leads to another peer than its own.
        PeerUnreachable: it leads nowhere now.

    """
    if given != _STDIN and not is_invite(given) and not is_spoken(given):
        return None
    text = _read(context.screen) if given == _STDIN else given
    with Spinner(context.screen) as spinner:
        spinner.show("saying the words …" if is_spoken(text) else "looking where the invite leads …")
        request = InviteText(servers=context.servers(), text=text)
        opened = context.client().call("invite/open", request, InviteOpened)
    if opened.agreed and not context.screen.json:
        context.screen.aside(f"{'invite':<{_LABEL}}gives no more: you have space there already", hang=_LABEL)
    elif opened.storage_bytes and not context.screen.json:
        size = context.screen.paint(format_size(opened.storage_bytes), BOLD)
        context.screen.aside(f"{'invite':<{_LABEL}}gives you up to {size} there, without a question", hang=_LABEL)
    if opened.verified and not context.screen.json:
        tick = context.screen.paint("✓", GREEN)
        context.screen.aside(f"{tick} the words are the same on both sides: it is who told you the code")
    return opened


def choose_wish(context: Context, choice: Choice, peer: str, storage: str) -> Wanted:
    """Return whom to ask, and for how much. peer: as it was typed, an invite or a spoken code among others.

    Raises:
        UserError: no such size, or none; or as `follow_invite`.
        AuthenticationFault, PeerUnreachable: as `follow_invite`.

    """
    opened = None if choice.best else follow_invite(context, peer)
    if opened is None and not (storage or choice.best or choice.trial) and is_half_code(peer):
        raise UserError(
            f"{escape_line(peer)} is a spoken code without its second word",
            hint="type all of it, like 7-abandon-ability; it is as good as before (a peer of that name: add --storage)",
        )
    is_left_to_it = opened is not None and not (storage or choice.trial)
    size_bytes = 0 if is_left_to_it else read_storage(choice, storage)
    if size_bytes < 1 and not is_left_to_it:
        raise UserError(
            "nothing to ask for: --storage is 0", hint="for example: `backup-peer connect PEER --storage 10GB`"
        )
    if opened is None:
        return Wanted(peer, size_bytes)
    return Wanted(opened.peer_id, _choose_storage(opened, size_bytes), opened.verified, is_invited=True)


def _choose_storage(opened: InviteOpened, wanted_bytes: int) -> int:
    """Return how much to ask for: as wanted, else what the invite gives.

    Raises:
        UserError: more than it gives, or it doesn't say.

    """
    if opened.storage_bytes and wanted_bytes > opened.storage_bytes:
        raise UserError(
            f"the invite gives {format_size(opened.storage_bytes)}, not {format_size(wanted_bytes)}",
            hint="leave --storage out, or ask for less",
        )
    if not wanted_bytes and not opened.storage_bytes:
        raise UserError("how much space? --storage is missing", hint="for example: --storage 10GB")
    return wanted_bytes or opened.storage_bytes


def _read(screen: Screen) -> str:
    """Return what stands on standard input: all of it; of a terminal, lines until the invite is whole or one is blank.

    Mail programs break it, and a line that was pasted and not read would go to the shell.
    """
    if not screen.can_ask:
        return sys.stdin.read(INVITE_CHARS * 4)
    text = screen.read_answer("invite: ")
    while is_invite(text) and not is_whole(text) and not screen.input_ended and len(text) < INVITE_CHARS * 4:
        count = format_count(len("".join(text.split())), "character")
        more = screen.read_answer(f"  {count} so far, go on (an empty line ends it): ", goes_on=True)
        if not more.strip():
            break
        text = f"{text}\n{more}"
    return text

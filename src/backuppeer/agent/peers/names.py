"""Which peer a person means: full id, alias, or a prefix among own peers and hosts heard of (DESIGN 3, ADR 0014).

Knows: the text forms. Must not know: how to reach anybody.
"""

from backuppeer.agent.home.state import State
from backuppeer.errors import BackupPeerError, NotFoundError, UserError
from backuppeer.ids import MIN_PREFIX, PEER_ID_CHARS, PeerId, format_peer_id, parse_peer_id, shorten_peer_id
from backuppeer.signaling.invite import is_invite
from backuppeer.signaling.nameplate import is_spoken

_PREFIX_START = "bp1"


def resolve_peer(state: State, text: str) -> PeerId:
    """Return the peer that `text` names.

    Raises:
        UserError: a mistyped id, or a prefix that is too short or fits several peers.
        NotFoundError: nobody is called so.

    """
    text = text.strip()
    record = state.peer_by_alias(text)
    if record is not None:
        return record.peer
    if len(text) >= PEER_ID_CHARS:
        return parse_peer_id(text)
    prefix = read_prefix(text)
    if not prefix:
        raise NotFoundError(
            f"no peer is called {text[:80]!r}",
            hint="see `backup-peer peers` and `backup-peer browse` for ids and names",
        )
    known = {record.peer for record in state.peers()} | set(state.heard())
    found = sorted(peer for peer in known if format_peer_id(peer).startswith(prefix))
    if len(found) > 1:
        names = ", ".join(shorten_peer_id(peer) for peer in found[:4])
        raise UserError(f"{text} fits {len(found)} peers: {names}", hint="give more characters")
    if not found:
        raise NotFoundError(
            f"no known peer begins with {text}", hint="run `backup-peer browse` again, or give the whole id"
        )
    return found[0]


def read_prefix(text: str) -> str:
    """Return a peer id or the start of one as ids are written, in lower case; '' for any other text.

    Raises:
        UserError: a mistyped id, or a prefix that is too short.

    """
    if len(text) >= PEER_ID_CHARS:
        return format_peer_id(parse_peer_id(text))
    if not text.lower().startswith(_PREFIX_START):
        return ""
    if len(text) < len(_PREFIX_START) + MIN_PREFIX:
        raise UserError(
            f"{text!r} is too short for a peer id",
            hint=f"give at least {MIN_PREFIX} characters after bp1, or the whole id",
        )
    return text.lower()


def name_of(state: State, peer: PeerId) -> str:
    """Return what this home calls a peer: its alias, else the start of its id."""
    record = state.peer(peer)
    return record.alias if record is not None and record.alias else shorten_peer_id(peer)


def say_of(state: State, peer: PeerId, error: BackupPeerError) -> str:
    """Return what went wrong with a peer as a sentence that names it, and names it once."""
    return say_named(name_of(state, peer), error)


def say_named(name: str, error: BackupPeerError) -> str:
    """Return what went wrong with somebody as a sentence that names it, and names it once."""
    return error.message if name in error.message else f"{name}: {error.message}"


def alias_of(state: State, peer: PeerId) -> str:
    """Return the alias of a peer, or ''."""
    record = state.peer(peer)
    return record.alias if record is not None else ""


def check_alias(state: State, alias: str, peer: PeerId) -> None:
    """Refuse an alias that is taken or could be read as an id.

    Raises:
        UserError: it is.

    """
    if not alias:
        return
    check_form(alias)
    taken = state.peer_by_alias(alias)
    if taken is not None and taken.peer != peer:
        raise UserError(
            f"{alias!r} is already your name for {shorten_peer_id(taken.peer)}", hint="choose another --name"
        )


def check_form(alias: str) -> None:
    """Refuse what could not be an alias in any home.

    Raises:
        UserError: it could be read as something else.

    """
    # `resolve_peer` strips what it is given: a name with spaces around it could never be found again.
    is_id = alias.lower().startswith(_PREFIX_START) or is_invite(alias) or is_spoken(alias)
    # A name beginning with - would be read as an option; one with a slash looks like a path, and is one by mistake.
    is_other = alias.startswith("-") or "/" in alias
    if is_id or is_other or not alias.isprintable() or len(alias) > 64 or alias != alias.strip():
        raise UserError(
            f"{alias[:64]!r} can't be a name",
            hint="1 to 64 printable characters without a slash, not beginning with bp1 or -, nor like a spoken code",
        )

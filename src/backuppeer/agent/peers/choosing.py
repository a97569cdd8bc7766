"""Which incoming request a person means, and which ones people are shown.

Knows: requests, aliases, prefixes. Must not know: what accepting or rejecting leads to.
"""

import re
from collections.abc import Sequence
from typing import Final

from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.names import read_prefix
from backuppeer.agent.peers.wishes import name_of_request
from backuppeer.errors import NotFoundError, UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import REQUEST_KEPT_S, REQUEST_PREFIX_CHARS, REQUEST_SETTLED_SHOWN_S

OPEN: Final = {RequestState.WAITING, RequestState.OFFERED, RequestState.ACCEPTED}
UNDECIDED: Final = {RequestState.WAITING, RequestState.OFFERED}
_HEX: Final = re.compile("[0-9a-f]+")
_SEE: Final = "see `backup-peer requests`"


def is_listed(record: RequestRecord, now_ms: int) -> bool:
    """Return whether people are shown a request: open ones as long as they live, settled ones for a day.

    What was rejected here stands, and can be taken back, as long as an open one lives.
    """
    is_lasting = record.state in OPEN or (record.state is RequestState.REJECTED and record.direction is Direction.IN)
    lasts_s = REQUEST_KEPT_S if is_lasting else REQUEST_SETTLED_SHOWN_S
    return record.since_ms + lasts_s * 1000 >= now_ms


def choose_listed(records: Sequence[RequestRecord], now_ms: int) -> list[RequestRecord]:
    """Return the requests that people are shown: no refusal that an agreement made good since."""
    agreed = {(r.direction, r.peer): r.since_ms for r in records if r.state is RequestState.AGREED}
    return [
        record
        for record in records
        if is_listed(record, now_ms)
        and (
            record.state is not RequestState.REJECTED
            or record.since_ms > agreed.get((record.direction, record.peer), -1)
        )
    ]


def choose_request(state: State, text: str, *, now_ms: int, accept: bool) -> RequestRecord:
    """Return the incoming request that `text` names and that waits for a decision; to accept, else one rejected.

    One for which other terms were offered waits too: its first terms can still be accepted.

    `text`: its id or the first characters of it, or the peer's alias, id or first characters of the id.

    Raises:
        NotFoundError: none is called so, or it was decided already.
        UserError: several are, or `text` is mistyped or too short.

    """
    found = _named(state, text.strip())
    listed = [record for record in found if is_listed(record, now_ms)]
    fitting = [record for record in listed if record.state in UNDECIDED]
    if not fitting and accept:
        fitting = [record for record in listed if record.state is RequestState.REJECTED]
    if len(fitting) > 1:
        raise UserError(f"{text[:80]!r} fits {len(fitting)} requests", hint=f"give more characters; {_SEE}")
    if not fitting and found:
        raise NotFoundError(f"the request {text[:80]!r} was already {_outcome(found[-1])}", hint=_SEE)
    if not fitting:
        raise NotFoundError(f"no request is called {text[:80]!r}", hint=_SEE)
    return fitting[0]


def find_offered(state: State, own: PeerId, text: str, now_ms: int) -> RequestRecord | None:
    """Return the own request that `text` names, and to which its host's person offers other terms; None: there is none.

    own: this home's peer id.

    Raises:
        UserError: a request of that peer's waits here as well, and `text` names just the peer.

    """
    text = text.strip()
    holder = state.peer_by_alias(text)
    prefix = "" if holder is not None else read_prefix(text)
    for record in state.requests():
        is_offered = record.direction is Direction.OUT and record.state is RequestState.OFFERED
        if not is_offered or not is_listed(record, now_ms):
            continue
        if len(text) >= REQUEST_PREFIX_CHARS and name_of_request(own, record).startswith(text.lower()):
            return record
        if holder is not None and record.peer == holder.peer:
            return _only(state, record)
        if prefix and format_peer_id(record.peer).startswith(prefix):
            return _only(state, record)
    return None


def _only(state: State, record: RequestRecord) -> RequestRecord:
    if any(other.state in UNDECIDED for other in state.requests_of(Direction.IN, record.peer)):
        raise UserError("this peer asks you for space, too: name the request by its id", hint=_SEE)
    return record


def _named(state: State, text: str) -> list[RequestRecord]:
    """Return the incoming requests that `text` names, whatever their state, oldest first."""
    holder = state.peer_by_alias(text)
    incoming = [record for record in state.requests() if record.direction is Direction.IN]
    called = [r for r in incoming if (text and r.alias == text) or (holder is not None and r.peer == holder.peer)]
    if called:
        return called
    if prefix := read_prefix(text):
        return [r for r in incoming if format_peer_id(r.peer).startswith(prefix)]
    if not _HEX.fullmatch(text.lower()):
        return []
    if len(text) < REQUEST_PREFIX_CHARS:
        raise UserError(
            f"{text!r} is too short for a request's id", hint=f"give at least {REQUEST_PREFIX_CHARS} characters"
        )
    return [r for r in incoming if r.request.startswith(text.lower())]


def _outcome(record: RequestRecord) -> str:
    """Return what became of a request that can't be decided any more."""
    # One that still says "waiting" here has waited too long.
    words = {RequestState.AGREED: "accepted", RequestState.WAITING: "expired", RequestState.OFFERED: "expired"}
    return words.get(record.state, record.state.value)

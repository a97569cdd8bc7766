"""Why there is no host to work with, and what to do about it.

Knows: requests that wait. Must not know: sessions, the ledger.
"""

from backuppeer.agent.home.records import Direction, RequestState
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.choosing import choose_listed
from backuppeer.agent.peers.names import name_of
from backuppeer.errors import NotFoundError


def explain_no_host(state: State, *, has_copies: bool, now_ms: int) -> NotFoundError:
    """Return the error for a home without an agreement; `has_copies`: it once had one, as its ledger tells."""
    if has_copies:
        return NotFoundError(
            "this home does not know its hosts any more, though they keep backups of it: its state was lost",
            hint="`backup-peer connect PEER --storage 10GB` takes up an agreement again, `backup-peer recover` all",
        )
    hint = "`backup-peer browse` shows who offers space, `backup-peer connect PEER --storage 10GB` asks one"
    listed = choose_listed(state.requests(), now_ms)
    waiting = [r.peer for r in listed if r.direction is Direction.OUT and r.state is RequestState.WAITING]
    if waiting:
        names = ", ".join(name_of(state, peer) for peer in waiting)
        hint = f"your request to {names} waits for an answer: see `backup-peer requests`"
    return NotFoundError("no host has agreed to keep your backups yet", hint=hint)

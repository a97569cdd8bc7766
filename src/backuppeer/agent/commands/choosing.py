"""The command that proposes a host: connect/best (control.api routes).

Knows: the market, what speaks against each host on it. Must not know: HTTP, terminals. It proposes; only a person, or
the `--yes` that a person gave beforehand, chooses (requirement W2).
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from backuppeer.agent.agent import Agent
from backuppeer.agent.home.identity_alarms import doubts_about
from backuppeer.agent.peers.neighbours import use_lan
from backuppeer.agent.reporter import Emit
from backuppeer.control.api import BrowseRequest, BrowseRow
from backuppeer.control.choosing import BestChoice, BestRequest
from backuppeer.errors import NotFoundError
from backuppeer.ids import PeerId, parse_peer_id, shorten_peer_id
from backuppeer.sizes import format_size
from backuppeer.trust.conduct import Bar
from backuppeer.trust.newcomer import BEGINNING, advise_newcomer
from backuppeer.trust.policy import BEST_LEAST

_A_FRIEND: Final = "ask a friend: `backup-peer host --storage 50GB` on the other machine offers space"
_BELOW: Final = "below"
_SMALL: Final = "with less than"


class ChooseCommands:
    """connect/best."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts = agent, agent.parts

    async def best(self, request: BestRequest, _: Emit) -> BestChoice:
        """Return the best host that is no host of ours yet, nor one with any of them, and the runner-up.

        Raises:
            NotFoundError: nobody on offer can be proposed; it says why, and what to do then.
            NoSignaling: no server answered.

        """
        # All of them are looked at: whether there is a better one is just what was asked.
        wanted = BrowseRequest(all=True)
        use_lan(request.lan)
        rows = await self._agent.owner.market.browse(self._agent.servers(request.servers), wanted)
        hosts = [host for _, host, _ in self._parts.state.agreements()]
        objections = [self._find_objection(row, request, hosts) for row in rows]
        fitting = [row for row, objection in zip(rows, objections, strict=True) if not objection]
        if not fitting:
            raise _explain(rows, objections)
        return BestChoice(best=fitting[0], next=fitting[1] if len(fitting) > 1 else None, seen=len(rows))

    def _say_distrust(self, peer: PeerId) -> str:
        """Return what speaks against what a host is known to be; "" = nothing."""
        bar = self._parts.standing.bar(peer)
        if bar is Bar.DOUBTED or doubts_about(self._parts.state, peer):
            return "in doubt"
        # A small fault bars nothing, and yet nobody is proposed before it is made good.
        if bar is not None or self._parts.standing.is_unresolved(peer):
            return "known to have failed"
        # Not the number of a row, which is rounded.
        return f"{_BELOW} {BEST_LEAST:.2f}" if self._parts.standing.trust(peer)[0] < BEST_LEAST else ""

    def _find_objection(self, row: BrowseRow, request: BestRequest, hosts: list[PeerId]) -> str:
        """Return why a host is not proposed; "" = nothing speaks against it."""
        peer = parse_peer_id(row.peer_id)
        if peer in hosts:
            return "your host already"
        if peer in self._parts.state.blocks:
            return "blocked"
        if distrust := self._say_distrust(peer):
            return distrust
        if row.free_bytes < request.storage:
            return f"{_SMALL} {format_size(request.storage)} free"
        if request.region and not row.region.upper().startswith(request.region.upper()):
            return f"not in {request.region.upper()}"
        if self._parts.views.apart.find_ties(peer, hosts):
            return "perhaps one machine with a host of yours"
        return ""


def _explain(rows: list[BrowseRow], objections: Iterable[str]) -> NotFoundError:
    """Return why nobody is proposed; `rows`: best first."""
    if not rows:
        return NotFoundError("nobody offers space at these servers", hint=f"{_A_FRIEND}; or name more with --server")
    reasons = list(objections)
    counts = ", ".join(f"{count} {why}" for why, count in Counter(reasons).items())
    hosts = "the only host on offer is none" if len(rows) == 1 else f"of {len(rows)} hosts on offer none is one"
    hint = "`backup-peer browse` shows all, and any may be chosen"
    if any(why.startswith(_SMALL) for why in reasons):
        hint += "; a smaller --storage may fit"
    # A newcomer's advice helps those alone who found nobody to trust.
    strange = [row for row, why in zip(rows, reasons, strict=True) if why.startswith(_BELOW)]
    if strange:
        first = next((row for row in strange if not row.capped), None)
        advice = advise_newcomer(shorten_peer_id(parse_peer_id(first.peer_id)) if first else "")
        hint += f". {BEGINNING[0].upper()}{BEGINNING[1:]} "
        hint += "; ".join(f"({number}) {text}" for number, text in enumerate(advice, 1))
    return NotFoundError(f"{hosts} to propose: {counts}", hint=hint)

"""Hosts whose copies count as one, as people are told of them: parts of backup, status and connect/plan.

Knows: names. Must not know: what ties hosts together (`repute.apart`).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from backuppeer.agent.agent import Agent
from backuppeer.agent.peers.names import name_of
from backuppeer.control.saving import LeftOut
from backuppeer.ids import PeerId, format_peer_id, parse_peer_id
from backuppeer.trust.policy import BEST_LEAST
from backuppeer.trust.score import write_below

_FURTHER: Final = "`backup-peer browse` shows other hosts"


def describe_spare(agent: Agent, peers: Sequence[str]) -> list[LeftOut]:
    """Return those of the hosts (ids as text) whose copy does not count beside an earlier one's, and why."""
    state = agent.parts.state
    return [
        LeftOut(
            peer_id=format_peer_id(host),
            name=name_of(state, host),
            reason=f"{name_of(state, host)} and {name_of(state, near)} may be one machine, or fall together ({why}): "
            "their copies count as one",
            hint=_FURTHER,
        )
        for host, near, why in agent.parts.views.apart.find_spare([parse_peer_id(peer) for peer in peers])
    ]


def remind_of_spare(agent: Agent, keepers: Iterable[PeerId]) -> list[str]:
    """Return a line for each host that keeps all backups and whose copy does not count."""
    found = describe_spare(agent, [format_peer_id(host) for host in keepers])
    return [f"{each.reason}: {each.hint}" for each in found]


def find_risks(agent: Agent, peer: PeerId) -> list[str]:
    """Return what a person should know before storing with a peer beside the hosts of today.

    What it did itself is not among them: that is the reason of its score, which is shown beside (`Explaining.regard`).
    """
    hosts = [host for _, host, _ in agent.parts.state.agreements()]
    risks = [*_say_short(agent, peer), *agent.parts.standing.risks(peer, hosts)]
    for host, why in agent.parts.views.apart.find_ties(peer, hosts):
        name = name_of(agent.parts.state, host)
        risks.append(f"it may be one machine with {name}, or fall together with it ({why}): both count as one copy")
    return risks


def _say_short(agent: Agent, peer: PeerId) -> list[str]:
    """Return that a good record is too short, where that alone is why a peer's trust is below BEST_LEAST; else []."""
    value, _ = agent.parts.standing.trust(peer)
    is_known = agent.parts.views.explaining.is_known(peer)
    if agent.parts.standing.caps(peer) or value >= BEST_LEAST or not is_known:
        return []
    return [f"what is known of this peer makes {write_below(value, BEST_LEAST)}; from {BEST_LEAST:.2f} on it is fair"]

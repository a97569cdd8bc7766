"""Shapes of `reputation`: how peers stand as hosts, and every term of a score (control.api).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`; evidence
(alpha, beta) as in docs/trust.md.
"""

import msgspec

from backuppeer.control.api import Request


class ReputationRequest(Request):
    """`reputation [PEER]`: one peer, or all that are known."""

    peer: str = ""


class ReputationRow(msgspec.Struct, kw_only=True):
    """One peer as a host. reason: the strongest one, a clause about it; capped: as in `peers`."""

    peer_id: str
    alias: str
    friend: bool
    trust: float
    trust_level: str
    reason: str
    capped: list[str] = []


class GoodDays(msgspec.Struct, kw_only=True):
    """Days that showed all well, `newest` to `oldest` (dates): days x weight x spans x fade = alpha, each a mean."""

    newest: str
    oldest: str
    days: int
    weight: float
    spans: float
    fade: float
    alpha: float


class BadDay(msgspec.Struct, kw_only=True):
    """A day with a fault: weight x kappa x fade = beta. fault: proven_loss, refused_online, reported_loss or late."""

    day: str
    fault: str
    kappa: float
    weight: float
    fade: float
    beta: float


class HeardBy(msgspec.Struct, kw_only=True):
    """Evidence that came by way of others: `by` whom, the first of them met by this home; ids and names.

    kind: what the last of them says, `claim` if it is that the host failed.
    """

    by: list[str]
    names: list[str]
    kind: str
    alpha: float
    beta: float


class CapRow(msgspec.Struct, kw_only=True):
    """A cap in force. name: as in docs/trust.md. since, ends: may be empty; without an end it ends by what is done."""

    name: str
    trust: float
    text: str
    since: str = ""
    ends: str = ""


class RaiseRow(msgspec.Struct, kw_only=True):
    """What would raise the score, and to what. text: a clause of what is to be done; command: may be ""."""

    trust: float
    text: str
    command: str = ""


class Reputation(msgspec.Struct, kw_only=True):
    """`reputation explain`: alpha = own + friend + heard, beta = own + heard, score = mean - deviation.

    trust = the least of score x factor and the caps. factor: the root of observed over promised availability.
    known: whether anything was seen or heard of it at all. lineage: as in `peers`.
    """

    peer_id: str
    alias: str
    friend: bool
    known: bool
    trust: float
    trust_level: str
    reason: str
    good: list[GoodDays]
    bad: list[BadDay]
    heard: list[HeardBy]
    own_alpha: float
    own_beta: float
    friend_alpha: float
    heard_alpha: float
    heard_beta: float
    alpha: float
    beta: float
    mean: float
    deviation: float
    score: float
    observed: float
    promised: float
    factor: float
    uncapped: float
    caps: list[CapRow]
    raises: list[RaiseRow]
    lineage: list[str] = []


class OpinionsRequest(Request):
    """`reputation --me`: what partners think of this home as a host; who has not answered in `wait_s` is named."""

    wait_s: float = 10.0


class OpinionRow(msgspec.Struct, kw_only=True):
    """What one partner says. trust, trust_level, reasons: its own words; error: why there are none, else empty.

    told: when it said so, where that is its last answer and not one of now; else empty.
    """

    peer_id: str
    alias: str
    trust: float = 0.0
    trust_level: str = ""
    reasons: list[str] = []
    error: str = ""
    told: str = ""

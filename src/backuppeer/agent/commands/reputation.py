"""Commands about how peers stand as hosts, and why: reputation, reputation/explain (control.api routes).

Knows: peers by name, what a person can do about a score. Must not know: HTTP, terminals, how a term is computed.
"""

import asyncio
import shlex
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from backuppeer.agent.agent import Agent
from backuppeer.agent.peers.lineage import say_lineage
from backuppeer.agent.peers.names import alias_of, name_of, resolve_peer
from backuppeer.agent.reporter import Emit
from backuppeer.agent.repute.explaining import CLAIM, Cap, Explanation, HeardPath
from backuppeer.clock import DAY_S, format_time
from backuppeer.control.reputation import (
    BadDay,
    CapRow,
    GoodDays,
    HeardBy,
    RaiseRow,
    Reputation,
    ReputationRequest,
    ReputationRow,
)
from backuppeer.errors import NotFoundError, UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.trust.conduct import Conduct
from backuppeer.trust.explain import FELT, Failure, Raise, Stretch, Way
from backuppeer.trust.score import round_down

_PLACES: Final = 4
"""Decimals of evidence in results."""


class ReputationCommands:
    """reputation, reputation/explain."""

    def __init__(self, agent: Agent) -> None:
        self._parts = agent.parts
        self._explaining = agent.parts.views.explaining

    async def list_all(self, request: ReputationRequest, _: Emit) -> list[ReputationRow]:
        """Return how one peer, or everybody known, stands; best first."""
        if request.peer:
            return [self._row(self._resolve(request.peer))]
        rows = await asyncio.to_thread(lambda: [self._row(peer) for peer in self._explaining.known()])
        return sorted(rows, key=lambda row: (-row.trust, row.alias or "~", row.peer_id))

    async def explain(self, request: ReputationRequest, _: Emit) -> Reputation:
        """Return every term of the score of a peer."""
        peer = self._resolve(request.peer)
        return self._show(peer, await asyncio.to_thread(self._explaining.explain, peer))

    def _resolve(self, text: str) -> PeerId:
        peer = resolve_peer(self._parts.state, text)
        if peer == self._parts.keys.peer:
            raise UserError("that is your own id: nobody scores itself", hint="name another: `backup-peer peers`")
        known = {*self._explaining.known(), *self._parts.state.heard()}
        if not known.intersection((peer, self._parts.standing.newest(peer))):
            raise NotFoundError(
                f"nothing was ever seen or heard of {text[:80]}", hint="`backup-peer browse` looks who is there now"
            )
        return peer

    def _row(self, peer: PeerId) -> ReputationRow:
        regard = self._explaining.regard(peer)
        return ReputationRow(
            peer_id=format_peer_id(peer),
            alias=alias_of(self._parts.state, peer),
            friend=self._parts.standing.is_friend(peer),
            trust=regard.trust,
            trust_level=regard.level,
            reason=regard.reason,
            capped=regard.capped,
        )

    def _show(self, peer: PeerId, found: Explanation) -> Reputation:
        parts, row = found.parts, self._row(peer)
        heard_beta = parts.heard.beta
        return Reputation(
            peer_id=row.peer_id,
            alias=row.alias,
            friend=row.friend,
            known=bool(
                parts.stretches or parts.failures or parts.heard.alpha or heard_beta or row.friend or found.caps
            ),
            trust=row.trust,
            trust_level=row.trust_level,
            reason=row.reason,
            good=[_show_stretch(each, self._day) for each in parts.stretches],
            bad=[_show_failure(each, self._day) for each in parts.failures],
            heard=[self._show_path(path) for path in found.paths],
            own_alpha=_round(parts.own_alpha),
            own_beta=_round(parts.own_beta),
            friend_alpha=parts.friend_alpha,
            heard_alpha=_round(parts.heard.alpha),
            heard_beta=_round(heard_beta),
            alpha=_round(parts.own_alpha + parts.friend_alpha + parts.heard.alpha),
            beta=_round(parts.own_beta + heard_beta),
            mean=_round(parts.mean),
            deviation=_round(parts.deviation),
            score=_round(parts.score),
            observed=_round(parts.availability.observed),
            promised=_round(parts.availability.promised),
            factor=_round(parts.factor),
            uncapped=_round(parts.uncapped),
            caps=[_show_cap(cap) for cap in found.caps],
            raises=list(self._say_raises(peer, found)),
            lineage=say_lineage(self._parts.state, self._parts.views.heirs, peer),
        )

    def _show_path(self, path: HeardPath) -> HeardBy:
        by, is_claim = path.peers[1:-1], path.kind == CLAIM
        return HeardBy(
            by=list(map(format_peer_id, by)),
            names=list(map(partial(name_of, self._parts.state), by)),
            kind=str(path.kind),
            alpha=0.0 if is_claim else _round(path.amount),
            beta=_round(path.amount) if is_claim else 0.0,
        )

    def _say_raises(self, peer: PeerId, found: Explanation) -> Iterator[RaiseRow]:
        name, lifted = name_of(self._parts.state, peer), 0
        for each in found.raises:
            if each.way is Way.COMPARE and self._parts.standing.differs(peer):
                continue  # they were compared
            text, command = _say_raise(each, shlex.quote(name), found)
            if each.way is Way.LIFT:
                text, lifted = f"then {text}" if lifted else text, lifted + 1
                text = text if each.trust >= found.parts.trust + FELT else f"{text}; that alone raises no score"
            if each.way is Way.KEEP and not self._parts.standing.measure_held(peer):
                text, command = f"first it must keep something of yours, then {text}", self._say_first(peer, name)
            yield RaiseRow(trust=round_down(each.trust), text=text, command=command)

    def _say_first(self, peer: PeerId, name: str) -> str:
        """Return the command by which a peer gets something to keep."""
        is_host = any(host == peer for _, host, _ in self._parts.state.agreements())
        return "backup-peer backup" if is_host else f"backup-peer connect {shlex.quote(name)}"

    def _day(self, age_days: float) -> str:
        return format_time(self._parts.clock.now_ms() - round(age_days * DAY_S * 1000))[:10]


def _say_raise(each: Raise, name: str, found: Explanation) -> tuple[str, str]:
    """Return what would raise a score as a clause, and the command that does it or "". name: as a shell needs it."""
    match each.way:
        case Way.COMPARE:
            return "compare the safety words with its person", f"backup-peer peers verify {name}"
        case Way.KEEP:
            days = f"{each.days} more day{'' if each.days == 1 else 's'}"
            return f"{days} of audits that find all well", ""
        case Way.ANSWER:
            return "it is there as often as it promised, over 30 days", ""
        case Way.LIFT:
            return _say_lift(each.name, name, found)


def _say_lift(cap: str, name: str, found: Explanation) -> tuple[str, str]:
    match cap:
        case "blocked":
            return "you take the block back", f"backup-peer unblock {name}"
        case "silent_beyond_grace":
            return "it answers again", ""
        case "unresolved_loss" | "verified_loss_share" | "reported_loss_share":
            return _say_mending(found.conduct, name)
        case _:
            ends_ms = next(limit.ends_ms for limit in found.caps if limit.limit.name == cap)
            when = f"on {format_time(ends_ms)[:10]}, or once " if ends_ms else "once "
            return f"{when}its human explained it and you forgive it", f"backup-peer peers forgive {name}"


def _say_mending(conduct: Conduct, name: str) -> tuple[str, str]:
    """Return how a loss is made good: sent again, then found whole by an audit."""
    if conduct.is_healed:
        return "an audit finds it whole, which clears the loss", f"backup-peer audit {name} --now"
    return "it is sent again what it lacks, and an audit finds it whole", "backup-peer repair"


def _show_stretch(each: Stretch, day: Callable[[float], str]) -> GoodDays:
    return GoodDays(
        newest=day(each.newest_days),
        oldest=day(each.oldest_days),
        days=each.days,
        weight=_round(each.weight),
        spans=_round(each.spans),
        fade=_round(each.fade),
        alpha=_round(each.alpha),
    )


def _show_failure(each: Failure, day: Callable[[float], str]) -> BadDay:
    return BadDay(
        day=day(each.age_days),
        fault=each.fault.name.lower(),
        kappa=each.fault.value,
        weight=_round(each.weight),
        fade=_round(each.fade),
        beta=_round(each.beta),
    )


def _show_cap(cap: Cap) -> CapRow:
    return CapRow(
        name=cap.limit.name,
        trust=cap.limit.cap,
        text=cap.said,
        since=format_time(cap.since_ms) if cap.since_ms else "",
        ends=format_time(cap.ends_ms) if cap.ends_ms else "",
    )


def _round(value: float) -> float:
    return round(value, _PLACES)

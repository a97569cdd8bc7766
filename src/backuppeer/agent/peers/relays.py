"""Relays and observers in use: how this home is found behind a NAT, and reaches others behind theirs (ADR 77, 78).

Knows: which servers have a relay, where their observers see our socket, what that says of our NAT. Must not know:
sessions, what a peer is for.

Theory of operation. Nothing is asked of any server before it is needed: a host asks when it has let a knock in, a
dialler when a host was not reached directly. From then on the admission is renewed, and the observers are asked again
and again: that keeps the NAT's port open for the direct path that is to replace the relayed one.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from backuppeer.agent.peers.whereabouts import NatKind
from backuppeer.clock import Clock
from backuppeer.errors import PeerFault, Unavailable
from backuppeer.limits import (
    OBSERVE_AGAIN_S,
    OBSERVE_LOOK_S,
    RELAY_ATTACH_S,
    RELAY_FRESH_S,
    RELAY_HOME_LOOK_S,
    RELAY_KEPT_S,
    RELAY_SERVERS,
    RELAY_VAIN_S,
    RELAY_WAIT_S,
)
from backuppeer.signaling.asking import (
    ask_relay,
    find_addresses,
    is_proxied,
    observer_address,
    read_observers,
    relay_url,
)
from backuppeer.signaling.messages import RelayIs
from backuppeer.signaling.servers import is_safe_foreign, may_lead_to, parse_server
from backuppeer.transport.base import Relayed, Transport

_log = structlog.get_logger()
_V4, _V6 = 4, 6
_HOME, _OBSERVERS = "home", "observers"
"""What is waited for, beside servers."""


@dataclass(slots=True)
class _Admitted:
    answer: RelayIs
    since_s: float
    used_s: float
    tried_s: float

    def is_due(self, now_s: float) -> bool:
        """Whether it is time to ask again, for who wants to stay admitted."""
        is_late = now_s - self.since_s >= self.answer.life_s / 2
        return is_late and now_s - self.tried_s >= OBSERVE_AGAIN_S


class Relays:
    """What one home uses of relays; on loopback, or with a transport that has none, it does nothing."""

    def __init__(self, transport: Transport, clock: Clock, *, loopback: bool) -> None:
        self._transport = transport if isinstance(transport, Relayed) and not loopback else None
        self._clock = clock
        self._admitted: dict[str, _Admitted] = {}
        self._homes: dict[str, str] = {}
        self._nodes: dict[str, str] = {}
        """The node that a server's name led to, where several answer to it."""
        self._keeping: asyncio.Task[None] | None = None
        self._joining: dict[str, asyncio.Task[bool]] = {}
        self._observing: asyncio.Task[bool] | None = None
        self._vain_s: dict[str, float] = {}
        self._attaching = asyncio.Lock()
        self._observed_s = float("-inf")
        self._seen_from: list[str] = []
        self.nat = NatKind.UNKNOWN
        self._given: set[str] = set()
        self.servers: Callable[[], Sequence[str]] = tuple
        """The servers of this home. Set by who knows them."""
        self.is_relayed: Callable[[], bool] = lambda: False
        """Whether any session goes by a relay now."""

    @property
    def home(self) -> str:
        """The server at whose relay this home is found; empty: at none."""
        url = self._transport.home_relay if self._transport is not None else ""
        return self._homes.get(url.rstrip("/"), "")

    def know(self, servers: Sequence[str]) -> None:
        """Take servers that a person named in a command for ours, too."""
        self._given.update(servers)

    async def attach(self) -> None:
        """Be found at a relay of our servers, and know our address outside, within RELAY_ATTACH_S if that can be.

        What does not come in time is gone on with beside, and for a while nobody waits for it again: a host's knocks
        wait here, one after the other, and one server that hangs must not hold up what another gives.
        """
        if self._transport is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(RELAY_ATTACH_S), self._attaching:
                servers = [url for url in self.servers() if relay_url(url)][:RELAY_SERVERS]
                joins = {url: self._begin_join(url) for url in servers}
                # Who is found somewhere needs no other; who is not takes the best of those that answer.
                wanted = [url for url in servers if self._nodes.get(url, url) == self.home] or servers
                await asyncio.gather(*(self._await_server(url, joins[url]) for url in wanted))
                if any(join.done() and join.result() for join in joins.values()):
                    await asyncio.gather(self._observe_once(), self._await_home())

    async def road(self, server: str) -> str:
        """Return the URL of the relay of a server that a peer named, once we are admitted there; empty: no way.

        A server that is not ours is asked only over TLS and by a public name, as for knocks (`is_safe_foreign`).
        """
        is_ours = server in self._given or server in self.servers()
        if self._transport is None or not relay_url(server) or not (is_ours or is_safe_foreign(server)):
            return ""
        if not (place := await self._ask(server)):
            return ""
        self._keep()
        await self._observe_once()
        return relay_url(place)

    @property
    def is_usable(self) -> bool:
        """Whether this home can be relayed at all: not on loopback."""
        return self._transport is not None

    async def examine(self, servers: Sequence[str], wait_s: float) -> list[str]:
        """Ask our servers' relays and observers now; return the servers whose relay let us in within `wait_s`.

        What was asked is kept up as long as after any other use, and no longer: to be asked about makes nobody a host.
        """
        asked = [url for url in servers if relay_url(url)][:RELAY_SERVERS]
        roads = [asyncio.create_task(self.road(url)) for url in asked]
        late = (await asyncio.wait(roads, timeout=wait_s))[1] if roads else set()
        for road in late:
            road.cancel()
        return [url for url, road in zip(asked, roads, strict=True) if road not in late and road.result()]

    async def close(self) -> None:
        """Ask no more."""
        tasks = [task for task in (self._keeping, self._observing, *self._joining.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin_join(self, url: str) -> asyncio.Task[bool]:
        if url not in self._joining or self._joining[url].done():
            self._joining[url] = asyncio.get_running_loop().create_task(self._join(url))
        return self._joining[url]

    async def _join(self, url: str) -> bool:
        """Be admitted at a server of ours and be found at its relay, if it has one; say whether it has."""
        if self._transport is None or not (place := await self._ask(url)):
            return False
        relay = relay_url(place)
        if relay not in self._homes:
            self._homes[relay] = place
            self._vain_s.pop(_HOME, None)
            await self._transport.use_relay(relay)
        self._keep()
        return True

    async def _await_server(self, url: str, join: asyncio.Task[bool]) -> None:
        if not self._is_vain(url, RELAY_FRESH_S):
            self._vain_s[url] = self._clock.monotonic_s()
            await asyncio.wait({join}, timeout=RELAY_WAIT_S)
            if join.done() and join.result():
                del self._vain_s[url]

    def _is_vain(self, what: str, for_s: float) -> bool:
        """Say whether we waited for something in vain within `for_s` seconds."""
        return self._clock.monotonic_s() - self._vain_s.get(what, float("-inf")) < for_s

    async def _ask(self, url: str) -> str:
        """Be admitted at a server, and return where its relay is, empty: nowhere; what it said just now still holds.

        A node to which its name led us before is asked itself, and the name again when that node has gone.
        """
        place = self._nodes.get(url, url)
        if is_proxied(place):  # for who asks now, whatever others did before
            return ""
        now_s = self._clock.monotonic_s()
        known = self._admitted.get(place)
        if known is not None:
            known.used_s = now_s
            # No longer than a moment: a server that was restarted since has admitted nobody.
            if now_s - known.since_s < RELAY_FRESH_S:
                return place if known.answer.life_s else ""
        found = await self._renew(place, used_s=now_s)
        if not found and place != url:
            found = await self._renew(url, used_s=now_s)
        if found and found != url:
            self._nodes[url] = found
        return found

    async def _renew(self, url: str, *, used_s: float) -> str:
        """Ask a server, or a node, and return where its relay is; empty: nowhere.

        A server that leads to a node says nothing for it, as it may be anybody's: the node is asked itself.
        """
        if (answer := await self._ask_one(url)) is None:
            return ""
        place = parse_server(answer.at) if answer.at and may_lead_to(url, answer.at) else url
        if place != url:
            own = await self._ask_one(place) if not is_proxied(place) else None
            place, answer = (place, own) if own is not None and own.life_s else (url, answer)
        now_s, known = self._clock.monotonic_s(), self._admitted.get(place)
        self._admitted[place] = _Admitted(answer, now_s, max(used_s, known.used_s if known else used_s), now_s)
        return place if answer.life_s else ""

    async def _ask_one(self, url: str) -> RelayIs | None:
        """Return what a server answers for itself; None: nothing."""
        if self._transport is None:
            return None
        try:
            return await ask_relay(url, self._transport.transport_id)
        except (Unavailable, PeerFault) as exc:
            _log.info("no relay", server=url, reason=exc.message[:200])
            return None

    def _keep(self) -> None:
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.get_running_loop().create_task(self._keep_on())

    async def _keep_on(self) -> None:
        """Renew and observe until nothing needs it: for a home that is found at a relay, as long as it runs."""
        while self._admitted:
            await asyncio.sleep(OBSERVE_LOOK_S)
            now_s = self._clock.monotonic_s()
            for url, known in list(self._admitted.items()):
                is_wanted = url in self._homes.values() or self.is_relayed() or now_s - known.used_s < RELAY_KEPT_S
                if not is_wanted:
                    del self._admitted[url]
                    self._nodes = {name: node for name, node in self._nodes.items() if node != url}
                elif known.is_due(now_s):
                    known.tried_s = now_s
                    await self._renew(url, used_s=known.used_s)
            if self._is_look_due():
                await self._observe()

    async def _await_home(self) -> None:
        if not self.home and self._is_vain(_HOME, RELAY_VAIN_S):
            return
        self._vain_s[_HOME] = self._clock.monotonic_s()
        while not self.home:  # noqa: ASYNC110 - iroh tells it in a callback of another thread; asked for 3 s at most
            await asyncio.sleep(RELAY_HOME_LOOK_S)
        self._vain_s.pop(_HOME, None)

    def _interfaces(self) -> list[str]:
        """Return our own addresses, without those that observers saw."""
        if self._transport is None:
            return []
        return sorted(set(self._transport.interface_addresses()))

    async def _observe_once(self) -> None:
        """Look from outside if it is time, and wait for that; a look that lasts goes on without us."""
        if self._is_look_due() and (self._observing is None or self._observing.done()):
            self._observing = asyncio.get_running_loop().create_task(self._observe())
        if self._observing is not None and not self._observing.done() and not self._is_vain(_OBSERVERS, RELAY_VAIN_S):
            self._vain_s[_OBSERVERS] = self._clock.monotonic_s()
            await asyncio.wait({self._observing}, timeout=RELAY_WAIT_S)

    def _is_look_due(self) -> bool:
        is_late = self._clock.monotonic_s() - self._observed_s >= OBSERVE_AGAIN_S
        return is_late or self._interfaces() != self._seen_from

    async def _observe(self) -> bool:
        """Ask the observers of the first server that answers where they see us, and have peers try these addresses."""
        self._observed_s, self._seen_from = self._clock.monotonic_s(), self._interfaces()
        for url, known in list(self._admitted.items()):
            seen = await self._ask_observers(url, known.answer)
            is_stale = self._clock.monotonic_s() - known.since_s >= RELAY_FRESH_S
            if known.answer.observers and not any(seen.values()) and is_stale and url in self._admitted:
                # Restarted, it has other observers and has admitted nobody: then the relay is closed to us as well.
                await self._renew(url, used_s=known.used_s)
                seen = await self._ask_observers(url, self._admitted[url].answer)
            if any(seen.values()):
                self._vain_s.pop(_OBSERVERS, None)
                await self._settle(seen)
                return True
        return False

    async def _ask_observers(self, url: str, answer: RelayIs) -> dict[int, list[str]]:
        """Return, by IP version, what each observer of a server that could be asked said; the same order each time."""
        transport, hosts = self._transport, await find_addresses(url)
        places = [place for place in read_observers(answer) if place.version in hosts]
        if transport is None or not places:
            return {}
        said = await asyncio.gather(
            *(transport.observe(each.transport, observer_address(hosts[each.version], each)) for each in places)
        )
        seen: dict[int, list[str]] = {_V4: [], _V6: []}
        for place, text in zip(places, said, strict=True):
            if text:
                seen[place.version].append(text)
        return seen

    async def _settle(self, seen: dict[int, list[str]]) -> None:
        before = self.nat
        self.nat = judge_nat(seen.get(_V4, []) or seen.get(_V6, []), self._interfaces())
        external = [] if self.nat is NatKind.SYMMETRIC else seen.get(_V4, [])[:1]
        external += seen.get(_V6, [])[:1]
        if self._transport is not None:
            await self._transport.set_external([text for text in external if text not in self._interfaces()])
        if self.nat is not before:
            _log.info("the network was looked at from outside", nat=self.nat.value)


def judge_nat(seen: Sequence[str], own: Sequence[str]) -> NatKind:
    """Return what NAT lies between us and observers that saw us at `seen` (`ip:port`); own: our own addresses."""
    if not seen:
        return NatKind.UNKNOWN
    if seen[0] in own:
        return NatKind.NONE
    if len(seen) == 1:
        return NatKind.SOME
    return NatKind.STEADY if len(set(seen)) == 1 else NatKind.SYMMETRIC

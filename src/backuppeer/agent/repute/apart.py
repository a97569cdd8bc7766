"""Which hosts may be one machine, or fall together, as this home sees it: traces for `trust.clusters` (ADR 64).

Knows: addresses that hosts signed, regions they listed, who alone stands for them, when they were up. Must not know:
sessions, backups. It warns and counts; it never refuses anybody.

Only addresses of the open internet tell of a network. Those of a house (192.168.1.x, 10.x), of a carrier's shared net,
and loopback stand behind thousands of doors: that two hosts share one says nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

import msgspec

from backuppeer.agent.home.state import State
from backuppeer.agent.repute.explaining import Explaining
from backuppeer.agent.repute.standing import Standing
from backuppeer.errors import ProtocolViolation
from backuppeer.ids import PeerId
from backuppeer.limits import REGIONS_KEPT
from backuppeer.transport.addresses import parse_address
from backuppeer.trust.clusters import Tie, Trace, find_clusters, find_tie

_REGIONS: Final = "apart.regions"
_CONTINENTS: Final = frozenset({"AF", "AN", "AS", "EU", "NA", "OC", "SA"})
_QUARTERS: Final = frozenset({"NE", "NW", "SE", "SW"})
_CITY_CHARS: Final = 3
_SAID: Final = {
    Tie.NETWORK: "the same network",
    Tie.REGION: "the same place",
    Tie.VOUCHER: "nobody but the same peer stands for either",
    Tie.HOURS: "both were up and down at the same hours",
}


class Apart:
    """The hosts of one home, and what ties them to each other."""

    def __init__(
        self,
        state: State,
        standing: Standing,
        explaining: Explaining,
        *,
        addresses: Callable[[PeerId], Sequence[str]],
    ) -> None:
        self._state, self._standing, self._explaining, self._addresses = state, standing, explaining, addresses

    def note_region(self, peer: PeerId, region: str) -> None:
        """Remember the label that a host listed last, of REGIONS_KEPT hosts at most."""
        regions = self._regions()
        if regions.get(bytes(peer), "") == region:
            return
        regions.pop(bytes(peer), None)
        if region:
            regions[bytes(peer)] = region
        kept = dict(list(regions.items())[-REGIONS_KEPT:])
        self._state.put_setting(_REGIONS, msgspec.msgpack.encode(kept))

    def trace(self, peer: PeerId) -> Trace:
        """Return what tells whether a host is another."""
        region = self._regions().get(bytes(peer), "")
        windows = self._standing.windows(peer)
        return Trace(
            networks=frozenset(find_networks(self._addresses(peer))),
            region=region if is_place(region) else "",
            voucher=self._find_voucher(peer),
            up=windows.up,
            seen=windows.seen,
        )

    def find_ties(self, peer: PeerId, hosts: Iterable[PeerId]) -> list[tuple[PeerId, str]]:
        """Return those of the hosts that may be one with a peer, each with why: a clause."""
        own, others = self.trace(peer), [host for host in dict.fromkeys(hosts) if host != peer]
        ties = [(host, find_tie(own, self.trace(host))) for host in others]
        return [(host, _SAID[tie]) for host, tie in ties if tie is not None]

    def find_spare(self, hosts: Sequence[PeerId]) -> list[tuple[PeerId, PeerId, str]]:
        """Return the hosts whose copies count for nothing beside another one's: (host, the other one, why)."""
        traces = [self.trace(host) for host in hosts]
        spare = []
        for number, counted in enumerate(find_clusters(traces)):
            tie = find_tie(traces[number], traces[counted]) if counted != number else None
            if tie is not None:
                spare.append((hosts[number], hosts[counted], _SAID[tie]))
        return spare

    def _find_voucher(self, peer: PeerId) -> str:
        """Return who alone stands for a host of which more was heard than seen; "" = nobody, or several."""
        if self._standing.is_friend(peer):
            return ""
        evidence, heard = self._standing.evidence(peer), self._standing.heard(peer)
        backers = self._explaining.find_backers(peer)
        return next(iter(backers)).hex() if len(backers) == 1 and 2 * heard.alpha > evidence.alpha else ""

    def _regions(self) -> dict[bytes, str]:
        raw = self._state.setting(_REGIONS)
        return msgspec.msgpack.decode(raw, type=dict[bytes, str]) if raw else {}


def is_place(region: str) -> bool:
    """Return whether two hosts with this label may fall together: DE-BE, DE-BER; but not DE, US-W, US-NW or EU-DE."""
    wide, _, part = region.partition("-")
    if wide in _CONTINENTS and part.isalpha():  # two letters behind a continent are a country
        return len(part) == _CITY_CHARS
    return len(part) > 1 and part not in _QUARTERS


def find_networks(addresses: Iterable[str]) -> set[str]:
    """Return the /24 or /48 of each address of the open internet; what is none is left out."""
    found = set()
    for text in addresses:
        try:
            ip, _ = parse_address(text)
        except ProtocolViolation:
            continue
        real: IPv4Address | IPv6Address = (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip
        if real.is_global and not real.is_multicast:
            found.add(str(ip_network((real, 24 if isinstance(real, IPv4Address) else 48), strict=False)))
    return found

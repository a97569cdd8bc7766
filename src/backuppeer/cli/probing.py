"""Looks at signaling servers from the command's own process, and what they say (`config servers test`, `doctor`).

Knows: the proxy of this command, how a look reads. Must not know: how a server is asked, what becomes of the result.
"""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from backuppeer.cli.render import escape_line, format_count, format_moment
from backuppeer.clock import SystemClock, format_time
from backuppeer.signaling.servers import parse_server

if TYPE_CHECKING:
    from backuppeer.signaling.probe import Probe

_CLOCK_S: Final = 5.0
"""Clocks that differ by less agree, as far as a look through a network can tell."""


def probe_all(
    urls: Sequence[str],
    proxy: str | None,
    *,
    on_probe: "Callable[[Probe], None]" = lambda _: None,
    within_s: float | None = None,
) -> "list[Probe]":
    """Look at all at once; `on_probe` hears of each as soon as it is done. proxy: as of Context; if nobody knows, none.

    within_s: what takes longer is given up, and said to; None = as long as the steps of a look take.
    """
    import asyncio  # noqa: PLC0415 - start-up time

    from backuppeer.signaling.probe import Probe, advise, probe_server  # noqa: PLC0415 - websockets
    from backuppeer.signaling.proxying import use_nothing, use_proxy  # noqa: PLC0415

    async def look_at(url: str) -> Probe:
        try:
            async with asyncio.timeout(within_s):
                found = await probe_server(parse_server(url), SystemClock())
        except TimeoutError:
            error = f"did not answer within {within_s:g} s"
            found = Probe(url=url, error=error, hint=advise(error))
        on_probe(found)
        return found

    async def look() -> list[Probe]:
        use_nothing() if proxy is None else use_proxy(proxy)
        return list(await asyncio.gather(*map(look_at, urls)))

    return asyncio.run(look())


def describe_probe(probe: "Probe") -> list[str]:
    """Return what a look at a server that works told, as clauses fit for a terminal."""
    parts = [f"open in {probe.connect_ms:.0f} ms, answers in {probe.round_trip_ms:.0f} ms"]
    if probe.certificate_ends_ms is not None:
        parts.append(f"certificate until {format_moment(format_time(probe.certificate_ends_ms))[:10]}")
    elif probe.url.startswith("ws://"):
        parts.append("no TLS: whoever is on the way sees what the server sees")
    if probe.error:
        parts.append(escape_line(probe.error))
    elif probe.skew_s is None:
        parts.append("its clock was not seen")
    else:
        off = abs(probe.skew_s) > _CLOCK_S
        parts.append(f"its clock is {probe.skew_s:+.0f} s off this machine's" if off else "clocks agree")
    parts.append(format_count(probe.offers or 0, "offer"))
    if probe.relay is not None:
        # A person's own authority is known by this variable alone, and QUIC's library doesn't read it.
        is_own = bool(os.environ.get("SSL_CERT_FILE")) and probe.url.startswith("wss://")
        used = "relay, used only with a certificate of a public authority" if is_own else "relay"
        parts.append(used if probe.relay else "no relay now")
    if probe.observes:
        parts.append("tells peers their public address")
    return parts

"""What an operator says of a server beyond where it listens: TLS, proxies, limits, the store of several nodes."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer

from backuppeer.cli.descriptors import bound_connections
from backuppeer.cli.relaying import describe_relay, read_observe, read_relay_url
from backuppeer.cli.units import parse_size, write_size
from backuppeer.clock import SystemClock
from backuppeer.errors import UserError
from backuppeer.limits import RELAY_BYTES_PER_S

if TYPE_CHECKING:
    from backuppeer.signaling.server.caps import Caps
    from backuppeer.signaling.server.certificate import Certificate
    from backuppeer.signaling.server.notes import Notes
    from backuppeer.signaling.server.process import Keeping
    from backuppeer.signaling.server.relay.relaying import Relaying

CLUSTER_VARIABLE: Final = "BACKUPPEER_CLUSTER"


_Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help=f"A Valkey that several nodes share; one with a password goes into {CLUSTER_VARIABLE}."
    ),
]
_Limits = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=N", help="Another limit than the usual (docs/operating.md); may be repeated."),
]
_USUAL_RATE: Final = write_size(RELAY_BYTES_PER_S)
_LEAST_RATE: Final = 10_000
"""Bytes per second. Less passes nothing on that is of use; it is meant in another unit."""
_RelayRate = Annotated[
    str,
    typer.Option(metavar="SIZE", help="Bytes per second to relay, all peers together, for example 20MB; 0 = no relay."),
]
_RelayUrl = Annotated[
    str,
    typer.Option(metavar="URL", help="This node's own address, for its relay, where several answer to one name."),
]
_Observe = Annotated[
    str,
    typer.Option(
        metavar="IP:PORT",
        help="Where peers ask for their address outside (UDP), behind a proxy; without, where the server listens.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """What was said, as it was said."""

    cluster: str
    chain: Path | None
    key: Path | None
    trusted: tuple[str, ...]
    limits: tuple[str, ...]
    relay_rate: int
    """Bytes per second, all peers together; 0: no relay."""
    relay_url: str
    """The node's own address; empty: the name that clients dial is its alone."""
    observe_at: tuple[tuple[str, int], ...]
    """Where observers listen; empty: where the server does."""

    def check(self, data: Path | None) -> None:
        """Refuse what can't be meant together.

        Raises:
            UserError: a folder for what several nodes share.

        """
        if self.cluster and data is not None:
            hint = "leave --data out: what nodes share is in the Valkey, and outlives each of them"
            raise UserError("--data keeps nothing where several nodes share a Valkey", hint=hint)

    def caps(self, stamp_bits: int) -> "Caps":
        """Return the limits of the server: no more connections than the system lets it have.

        Raises:
            UserError: there is no such limit, or it can't be that.

        """
        from backuppeer.signaling.server.caps import parse_caps  # noqa: PLC0415 - for this verb alone

        return bound_connections(parse_caps(self.limits, stamp_bits=stamp_bits))

    def keeping(self, caps: "Caps", data: Path | None, notes: "Notes | None") -> "Keeping":
        """Return where listings, messages and recovery notes are kept; `notes`: those of the folder, if there is one.

        Raises:
            UserError: what was given is no store, or the file in the folder none of ours.

        """
        from backuppeer.signaling.server.process import Keeping  # noqa: PLC0415 - websockets

        if self.cluster:
            from backuppeer.signaling.server.cluster.shared import PREFIX, SharedEngine  # noqa: PLC0415 - an extra
            from backuppeer.signaling.server.cluster.shared_notes import SharedNotes  # noqa: PLC0415
            from backuppeer.signaling.server.cluster.store import Store  # noqa: PLC0415

            store = Store(self.cluster, prefix=PREFIX)
            return Keeping(SharedEngine(store, caps, clock=SystemClock()), SharedNotes(store, caps.notes))
        from backuppeer.signaling.server.memory import MemoryEngine  # noqa: PLC0415
        from backuppeer.signaling.server.snapshot import KeptEngine  # noqa: PLC0415

        clock = SystemClock()
        engine = KeptEngine(data, caps, clock=clock) if data is not None else MemoryEngine(caps, clock=clock)
        return Keeping(engine, notes)

    def describe_relay(self, relaying: "Relaying | None") -> str:
        """Return what the server does for peers that can't reach each other."""
        return describe_relay(relaying, self.relay_rate, is_shared=bool(self.cluster))

    def relaying(self) -> "Relaying | None":
        """Return what helps peers that can't reach each other; None: this server does not."""
        from backuppeer.signaling.server.relay.relaying import Relaying  # noqa: PLC0415 - iroh

        # Of several nodes behind one name each relays for its own clients: who is to come there needs its own address.
        if not self.relay_rate or (self.cluster and not self.relay_url):
            return None
        return Relaying(SystemClock(), bytes_per_s=self.relay_rate, observe_at=self.observe_at, at=self.relay_url)

    def certificate(self) -> "Certificate | None":
        """Return what the server proves its name with; None: it speaks in the clear.

        Raises:
            UserError: one file of the two is missing, can't be read, or they are no pair.

        """
        if self.chain is None and self.key is None:
            return None
        if self.chain is None or self.key is None:
            raise UserError("--tls-cert and --tls-key go together", hint="name both files")
        from backuppeer.signaling.server.certificate import Certificate  # noqa: PLC0415

        return Certificate(self.chain, self.key)


def operate(  # noqa: PLR0913 - one parameter per option
    *,
    cluster: _Cluster = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate chain (PEM); SIGHUP reads it again.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key (PEM).")] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="NET", help="A proxy whose X-Forwarded-For counts; may be repeated."),
    ] = None,
    limit: _Limits = None,
    relay_rate: _RelayRate = _USUAL_RATE,
    relay_url: _RelayUrl = "",
    observe: _Observe = "",
) -> Operating:
    """Return what was said.

    Raises:
        UserError: a password stands on the command line, which every process of the machine can read.

    """
    refuse_password(cluster or "")
    return Operating(
        cluster=cluster if cluster is not None else os.environ.get(CLUSTER_VARIABLE, ""),
        chain=tls_cert,
        key=tls_key,
        trusted=tuple(trusted_proxy or ()),
        limits=tuple(limit or ()),
        relay_rate=read_rate(relay_rate),
        relay_url=read_relay_url(relay_url),
        observe_at=read_observe(observe),
    )


def refuse_password(address: str) -> None:
    """Refuse the address of a store that says a password where everybody sees it.

    Raises:
        UserError: it does, or it is no address at all.

    """
    try:
        has_password = bool(urlsplit(address).password)
    except ValueError as exc:
        raise UserError("not an address", hint="for example valkey://127.0.0.1:6379/0") from exc
    if has_password:
        hint = f"everybody on this machine sees it there; put the address into {CLUSTER_VARIABLE} instead"
        raise UserError("a password does not belong on the command line", hint=hint)


def read_rate(text: str) -> int:
    """Return bytes per second, 0 = no relay.

    Raises:
        UserError: not a size, or too little to be meant.

    """
    rate = parse_size(text)
    if 0 < rate < _LEAST_RATE:
        raise UserError(
            f"--relay-rate is {rate} bytes per second, and the least is {write_size(_LEAST_RATE)}",
            hint="sizes have units: --relay-rate 20MB; 0 is no relay",
        )
    return rate

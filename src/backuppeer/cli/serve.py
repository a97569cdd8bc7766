"""The agent's process, and the one place where all parts are wired (composition root; DESIGN 2).

Knows: every constructor, in order. Must not know: how any part works. Run as `python -m backuppeer.cli.serve --home
DIR`; of two started for one home the second exits 0 at once, because the first holds the lock.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from backuppeer import __version__
from backuppeer.agent.agent import Agent
from backuppeer.agent.audits.auditor import Auditor
from backuppeer.agent.heap import relax_collector
from backuppeer.agent.home.aside import open_or_set_aside
from backuppeer.agent.home.cap_reader import CapReader
from backuppeer.agent.home.config import (
    bind_addresses,
    is_loopback_only,
    may_share_receipts,
    may_use_lan,
    read_config,
)
from backuppeer.agent.home.heir import settle_succession
from backuppeer.agent.home.home import PROOFS, Home, sweep_unfinished
from backuppeer.agent.home.keyring import HomeKeys, load_keys
from backuppeer.agent.home.logbook import open_log
from backuppeer.agent.home.power import find_obstacle
from backuppeer.agent.home.state import State
from backuppeer.agent.host.authorities import find_authority, list_authorities
from backuppeer.agent.host.ending import Ending as HostEnding
from backuppeer.agent.host.hosting import Hosting
from backuppeer.agent.host.inviting import Inviting
from backuppeer.agent.host.moving import Moving
from backuppeer.agent.host.noting import Noting
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.presence import Presence
from backuppeer.agent.host.receipting import Countersigning
from backuppeer.agent.host.reciprocity import Reciprocity
from backuppeer.agent.host.requests import Requests
from backuppeer.agent.host.revising import Revising as HostRevising
from backuppeer.agent.host.scrubbing import Scrubbing
from backuppeer.agent.host.serving import Serving
from backuppeer.agent.host.succeeding import Succeeding
from backuppeer.agent.host.sweeping import Sweeping
from backuppeer.agent.host.terms import TermsDesk
from backuppeer.agent.host.waiving import Waiving as HostWaiving
from backuppeer.agent.jobs.housekeeping import Housekeeping
from backuppeer.agent.jobs.lookout import Lookout
from backuppeer.agent.jobs.rounds import Rounds
from backuppeer.agent.jobs.timekeeper import Timekeeper
from backuppeer.agent.overview.watch import make_teller
from backuppeer.agent.owner.announcing import Announcing
from backuppeer.agent.owner.connecting import Connecting
from backuppeer.agent.owner.ending import Ending
from backuppeer.agent.owner.following import Following
from backuppeer.agent.owner.receipting import Receipting
from backuppeer.agent.owner.revising import Revising
from backuppeer.agent.owner.set_hosts import follow_heirs
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.owner.waiving import Waiving
from backuppeer.agent.peers.contacting import Contacting
from backuppeer.agent.peers.endpoint import open_transport, whereabouts_of
from backuppeer.agent.peers.exchange import Exchange
from backuppeer.agent.peers.knocking import Knocking
from backuppeer.agent.peers.market import Market
from backuppeer.agent.peers.misbinding import explain_move
from backuppeer.agent.peers.neighbours import Neighbours
from backuppeer.agent.peers.opinions import Opinions
from backuppeer.agent.peers.partners import Reach, addresses_of
from backuppeer.agent.peers.relays import Relays
from backuppeer.agent.peers.sessions import Hooks, Sessions
from backuppeer.agent.recovery.slots import Slots
from backuppeer.agent.repute.convicts import Convicts
from backuppeer.agent.repute.gaps import Gaps
from backuppeer.agent.repute.hearing import Hearing
from backuppeer.agent.repute.heirlooms import follow_carried
from backuppeer.agent.repute.promised import promised_by
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.standing import Standing
from backuppeer.agent.repute.views import Views, make_views
from backuppeer.agent.sides import HostSide, OwnerSide, Parts, Repute
from backuppeer.cli.descriptors import use_descriptors
from backuppeer.cli.inheriting import join_succeeding, make_following, make_heirship
from backuppeer.cli.routing import make_handlers
from backuppeer.clock import Clock, SystemClock
from backuppeer.control.openapi import build_openapi
from backuppeer.control.server import build_app, serve_control
from backuppeer.control.sockets import socket_path_for
from backuppeer.errors import BackupPeerError
from backuppeer.ids import PeerId
from backuppeer.limits import PASSPHRASE_BYTES, SWITCH_INTERVAL_S
from backuppeer.signaling.proxying import use_nothing, use_proxy
from backuppeer.transport.base import PathKind
from backuppeer.trust.evidence import EvidenceLog

_log = structlog.get_logger()


async def compose(home: Home, secret: bytes) -> Agent:
    """Make every part of the agent of `home` and join them; nothing is started yet but the bound sockets.

    secret: what opens the keys of a locked home.

    Raises:
        BackupPeerError: a key file, a database or a port is not as it should be.

    """
    clock, keys = SystemClock(), load_keys(home, secret)
    state = State(home.state)
    transport = await open_transport(state, keys, bind_addresses())
    premises = Premises(state, keys.identity, clock, default=home.default_store, former=keys.former_identities)
    evidence = open_or_set_aside(home.path / "evidence.db", EvidenceLog, note=premises.notes.append)
    standing, views = _make_standing(state, evidence, clock)
    requests = Requests(state, premises, standing, clock, identity=keys.identity)
    terms = _make_terms(state, premises, requests, keys, clock=clock)
    desk = TermsDesk(*terms)
    serving, sweeping = _make_serving(premises, terms[0], standing, clock)
    hooks = _make_hooks(lambda: agent, serving, standing)
    sessions = Sessions(transport, keys.identity, clock, hooks, lane_binds=bind_addresses())
    announcing = Announcing(state, keys, transport, clock)
    reach, contacting, relays = _make_reach(home, state, sessions, standing, announcing=announcing)
    following = make_following(Following(state, keys, views.heirs, reach=reach), premises, announcing, reach)
    market, knocking = _make_knocking(state, keys, views, relays, announcing=announcing, neighbours=reach.neighbours)
    connecting = Connecting(state, keys, clock, reach=reach, knocking=knocking)
    heirship = make_heirship(keys, premises, serving, sessions, standing=standing, announcing=announcing, relays=relays)
    binding = partial(heirship.bind, keys.identity)
    hosting = Hosting(state, keys.identity, clock, requests=requests, binding=binding, free=premises.free_for)
    vault = Vault(home, keys, state, clock, reach=reach, standing=standing)
    noting, slots = Noting(state, premises, clock, binding=heirship.bind), Slots(state, keys, clock)
    serving.on_terms, serving.keep_slot, hosting.health = desk.answer, noting.keep, market.health
    terms[0].on_offer, serving.answering.on_taken_over = lambda: hosting.offer, partial(explain_move, state)
    ending, scrubbing = Ending(state, keys, clock, reach=reach), Scrubbing(premises, clock, serving.proving)
    revising = Revising(state, keys, clock, reach=reach, blame=standing.blame)
    revising.hear = desk.hear = ending.hear
    owed = _make_reciprocity(Reciprocity(state, premises, clock), serving, requests)
    heirs = Succeeding(state, premises, requests, views.heirs)
    join_succeeding(heirs, serving, sweeping, owed, noting=noting, hosting=hosting, by=(connecting, revising))
    findable = _make_findable(home, keys, hosting, requests, premises)
    further = (*terms, Moving(premises), owed, heirs, *findable, heirship)
    as_host = HostSide(premises, requests, hosting, sweeping, scrubbing, noting, *further)
    audits = _make_audits(home, keys, state, vault, by=(reach, announcing, following, revising))
    by_words = (Waiving(state, keys, clock, reach=reach, revising=revising, ending=ending), announcing, following)
    as_owner = OwnerSide(market, knocking, connecting, vault, slots, *audits, revising, ending, *by_words)
    parts = Parts(home, keys, state, clock, transport, sessions, reach, standing, contacting, views, relays)
    agent = Agent(parts, as_host, as_owner, _make_repute(parts, evidence, premises, vault, serving))
    return agent


def _make_serving(
    premises: Premises, revising: HostRevising, standing: Standing, clock: Clock
) -> tuple[Serving, Sweeping]:
    serving = Serving(premises, revising.consider, standing.blame, standing.note_deed)
    sweeping = Sweeping(premises, clock)
    serving.answering.on_deleted = sweeping.wake
    return serving, sweeping


def _make_standing(state: State, evidence: EvidenceLog, clock: Clock) -> tuple[Standing, Views]:
    standing = Standing(state, evidence, clock)
    standing.promised = partial(promised_by, state)
    return standing, make_views(state, standing, evidence, clock, addresses=partial(addresses_of, state))


def _make_reach(
    home: Home, state: State, sessions: Sessions, standing: Standing, *, announcing: Announcing
) -> tuple[Reach, Contacting, Relays]:
    clock = announcing.clock
    reach, contacting = Reach(state, sessions, loopback=is_loopback_only()), Contacting(standing, clock)
    reach.on_missed, reach.neighbours = contacting.missed, Neighbours(state, clock, bind_addresses())
    reach.neighbours.is_set, sessions.rates.read = partial(may_use_lan, home), CapReader(home, clock).read
    relays = Relays(announcing.transport, clock, loopback=is_loopback_only())
    relays.is_relayed = lambda: any(s.connection.path().kind is PathKind.RELAYED for s in sessions.all())
    return reach, contacting, relays


def _make_knocking(
    state: State, keys: HomeKeys, views: Views, relays: Relays, *, announcing: Announcing, neighbours: Neighbours | None
) -> tuple[Market, Knocking]:
    market = Market(state, announcing.clock, keys.peer, views=views, neighbours=neighbours)
    ends = partial(whereabouts_of, announcing.transport, announcing.clock, relays)
    knocking = Knocking(state, keys.identity, announcing.clock, market=market, ends=ends)
    knocking.as_whom, knocking.neighbours = announcing.identity_at, neighbours
    return market, knocking


def _make_terms(
    state: State, premises: Premises, requests: Requests, keys: HomeKeys, *, clock: Clock
) -> tuple[HostRevising, HostEnding, HostWaiving]:
    revising = HostRevising(state, premises, requests, clock, authority=keys.authority)
    waiving = HostWaiving(state, premises, clock)
    revising.on_lowered = waiving.tell_lowered
    return revising, HostEnding(state, premises, clock), waiving


def _make_reciprocity(made: Reciprocity, serving: Serving, requests: Requests) -> Reciprocity:
    serving.find_debt, requests.is_owed = made.find_debt, made.is_owed
    return made


def _make_findable(
    home: Home, keys: HomeKeys, hosting: Hosting, requests: Requests, premises: Premises
) -> tuple[Inviting, Presence]:
    clock = SystemClock()
    presence = Presence(hosting, premises, clock, bind_addresses())
    presence.is_set, hosting.show_near = partial(may_use_lan, home), presence.settle
    inviting = Inviting(keys.identity, clock, hosting=hosting, invites=requests.invites)
    requests.invites.on_change, inviting.is_partner = inviting.wake, requests.is_partner
    return inviting, presence


def _make_audits(
    home: Home, keys: HomeKeys, state: State, vault: Vault, *, by: tuple[Reach, Announcing, Following, Revising]
) -> tuple[Auditor, Rounds, Lookout, Timekeeper]:
    reach, announcing, following, revising = by

    def is_wanted() -> bool:
        return read_config(home).audits != "off"

    def may_look() -> bool:
        # Not beside a home of the same words that works: a host has one session with both.
        is_working = vault.exists_repository and vault.writer.may_write and not vault.is_unrecovered
        return is_working and is_wanted()

    auditor = Auditor(home, keys, state, vault)
    lookout = Lookout(state, vault.standing, vault.clock, reach=reach, is_wanted=may_look)

    def find_waiting() -> list[PeerId]:
        may_tell = vault.writer.may_write and not vault.is_unrecovered
        return [*(announcing.waiting() if may_tell else ()), *following.waiting()]

    lookout.find_waiting = find_waiting
    housekeeping = Housekeeping(vault, home, state)
    timekeeper = Timekeeper(vault, home, before=revising.follow_up, housekeeping=housekeeping)
    timekeeper.find_obstacle = partial(find_obstacle, home)
    return auditor, Rounds(vault, auditor, is_wanted=is_wanted), lookout, timekeeper


def _make_repute(parts: Parts, evidence: EvidenceLog, premises: Premises, vault: Vault, serving: Serving) -> Repute:
    home, keys, state, clock = parts.home, parts.keys, parts.state, parts.clock
    shelf = open_or_set_aside(home.path / "receipts.db", Shelf, note=premises.notes.append)
    vault.self_set.shelf = shelf
    vault.self_set.follow = partial(follow_carried, parts.views.heirs, partial(find_authority, state, premises))
    hearing, gaps = Hearing(shelf, clock, keys.peer), Gaps(shelf, state, keys.identity, clock)
    convicts = Convicts(shelf, evidence, home.path / PROOFS, clock)
    receipting = Receipting(state, keys, vault, shelf=shelf, gaps=gaps, clock=clock)
    countersigning = Countersigning(premises, clock, shelf=shelf, gaps=gaps)
    exchange = Exchange(shelf, state, clock, own=keys.peer, convicts=convicts, heirs=parts.views.heirs)
    exchange.named = partial(list_authorities, state, premises)
    receipting.is_shared = exchange.is_shared = partial(may_share_receipts, home)
    countersigning.agree_gap, countersigning.line_of = receipting.agree_gap, parts.views.heirs.line_of
    hearing.lines = evidence.lines
    hearing.own_words, parts.standing.heard = receipting.own_words, hearing.heard
    parts.views.explaining.paths = hearing.paths
    parts.views.heirs.on_followed = lambda _, __: follow_heirs(home, state)
    follow_heirs(home, state)
    opinions = Opinions(parts.standing, shelf, clock)
    opinions.explain = lambda peer: [parts.views.explaining.reason(peer)]
    made = Repute(shelf, hearing, convicts, receipting, countersigning, exchange, opinions)
    serving.on_receipts = made.answer
    return made


def _make_hooks(agent: Callable[[], Agent], serving: Serving, standing: Standing) -> Hooks:
    # The agent is made last, of parts that need to call it: hence by name, at the time of the call.
    return Hooks(
        may_answer=lambda peer: agent().may_answer(peer),
        make_hello=lambda peer: agent().make_hello(peer),
        on_hello=lambda session: agent().on_hello(session),
        serve=serving.serve,
        on_fault=standing.blame,
        is_newcomer=lambda peer: agent().is_newcomer(peer),
        prepare=lambda: agent().prepare(),
    )


def _go_by_settings(home: Home) -> None:
    """Let what the agent does by itself go through the proxy of the settings, as they are now."""
    try:
        use_proxy(read_config(home).proxy or "")
    except BackupPeerError:
        use_nothing()


async def serve(home: Home, secret: bytes, *, on_start: Callable[[], None]) -> None:
    """Run the agent of `home` until it is told to stop, by command or by signal; secret: as for `compose`."""
    _go_by_settings(home)
    agent = await compose(home, secret)
    app = build_app(make_handlers(agent), partial(build_openapi, __version__), on_proxy=use_proxy)
    server = serve_control(app, socket_path_for(home.path))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, agent.stopping.set)
    door = asyncio.create_task(server.run_until_stopped())
    await agent.start()
    agent.spawn(make_teller(agent).run())
    on_start()
    _log.info("agent started", version=__version__, pid=os.getpid())
    stopping = asyncio.create_task(agent.stopping.wait())
    await asyncio.wait([door, stopping], return_when=asyncio.FIRST_COMPLETED)
    server.stop()
    with suppress(asyncio.CancelledError):
        await door
    await agent.close()
    _log.info("agent stopped")


def main(arguments: list[str] | None = None) -> int:
    """Be the agent of a home; exit 0 at once when another process is."""
    parser = argparse.ArgumentParser(prog="backuppeer.cli.serve")
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--tell", type=int, default=-1, help="descriptor to say on why it can't run")
    parser.add_argument("--unlock", type=int, default=-1, help="descriptor to read what opens the keys from")
    given = parser.parse_args(arguments)
    home = Home(given.home)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    relax_collector()
    # Whatever this process creates is for its user alone.
    os.umask(0o077)
    use_descriptors()
    try:
        with home.lock() as is_ours:
            if is_ours:
                open_log(home)
                sweep_unfinished(home.keys)
                home.settle_mark()
                settle_succession(home)
                asyncio.run(serve(home, _hear(given.unlock), on_start=partial(_hang_up, given.tell)))
                if home.is_passing:
                    # Nobody else may be left to: its keys must not outlive a check of words that was killed.
                    shutil.rmtree(home.path, ignore_errors=True)
    except BackupPeerError as exc:
        _log.error("the agent can't run", reason=exc.message, hint=exc.hint)
        print(f"error: {exc.message}\nhint: {exc.hint}", file=sys.stderr)  # noqa: T201 - the foreground's terminal
        _tell(given.tell, exc)
        return int(exc.exit_code)
    return 0


def _hear(descriptor: int) -> bytes:
    """Return what opens the keys of a locked home, as the command that started us wrote it into a pipe."""
    if descriptor < 0:
        return b""
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read(PASSPHRASE_BYTES)


def _tell(descriptor: int, exc: BackupPeerError) -> None:
    """Let the command that started us on demand say why we can't run: our stderr is nobody's then."""
    if descriptor >= 0:
        reason = json.dumps({"message": exc.message, "hint": exc.hint, "code": int(exc.exit_code)})
        with suppress(OSError):  # the command has gone
            os.write(descriptor, reason.encode())
        _hang_up(descriptor)


def _hang_up(descriptor: int) -> None:
    """Close what the command gave us, so that whoever waits for its end need not wait for ours."""
    if descriptor >= 0:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())

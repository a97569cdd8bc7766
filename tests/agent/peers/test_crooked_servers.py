"""Every crime of a signaling server, against a real host, viewer and owner: docs/crimes.md is the table of these.

Beside an honest server each of them is harmless: the host is found, its offer is the newest, a knock is answered, and
nothing is shown that nobody signed. Alone, a server can hold a meeting up, and that is all.
"""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from agent.houses import offer
from backuppeer import limits
from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.host.hosting import Hosting
from backuppeer.agent.peers import delivering
from backuppeer.agent.peers.knocking import Knocking
from backuppeer.agent.peers.market import Market
from backuppeer.agent.peers.partners import Whereabouts
from backuppeer.agent.repute.standing import Standing
from backuppeer.agent.repute.views import make_views
from backuppeer.control.api import BrowseRequest
from backuppeer.errors import BackupPeerError
from backuppeer.ids import format_peer_id
from backuppeer.limits import MIB
from backuppeer.signaling import client
from backuppeer.signaling.health import describe_faults
from backuppeer.signaling.knock import Verdict
from backuppeer.signaling.pool import Pool
from backuppeer.trust.evidence import EvidenceLog
from signaling.crooked import Crime, crooked
from signaling.kit import Host, TurnedClock, run, serving

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "crimes.md"
HEADING = "# Crimes of a signaling server"


@dataclass(frozen=True)
class Row:
    """What is to be seen. browse, connect: exit codes with this server alone, 0: the host is shown, and answers.

    says: what the person reads of the server, beside an honest one.
    """

    browse: int = 0
    connect: int = 0
    says: str = ""
    is_shown: bool = True
    """Alone: whether the host is among the rows."""


FORGED = Row(connect=11, is_shown=False, says="that the hosts they name did not sign")
TABLE = {
    Crime.WITHHOLDS: Row(connect=11, is_shown=False),
    Crime.STALE: Row(connect=11, is_shown=False, says="older offers than were seen before"),
    Crime.FORGES: FORGED,
    Crime.SWAPS_KEYS: FORGED,
    Crime.INVENTS: Row(),
    Crime.REORDERS: Row(),
    Crime.DUPLICATES: Row(),
    Crime.FLOODS_ROWS: Row(connect=11, is_shown=False, says="are broken or of another time"),
    Crime.FLOODS_BYTES: Row(browse=14, connect=14, says="sent a message that is too long"),
    Crime.FLOODS_FRAMES: Row(),
    Crime.DRIPS: Row(says="are broken or of another time"),
    Crime.HANGS: Row(browse=14, connect=14, says="did not answer"),
    Crime.HALF_OPEN: Row(connect=11, is_shown=False, says="older offers than were seen before"),
    Crime.HANGS_UP: Row(browse=14, connect=14, says="closed the connection: 1011 no"),
    Crime.WRONG_TYPE: Row(browse=14, connect=14, says="answered Challenge, not Page"),
    Crime.MALFORMED: Row(browse=14, connect=14, says="malformed"),
    Crime.DROPS_KNOCKS: Row(connect=11),
    Crime.ANSWERS_KNOCKS: Row(),
    Crime.REPLAYS_KNOCKS: Row(),
    Crime.RELAYS_PROOF: Row(connect=11, is_shown=False),
    Crime.PAINTS: Row(),
}


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """What takes seconds takes tenths: the waits of everyday are what `test_browse` and `test_knocking` are about."""
    monkeypatch.setattr(limits, "BROWSE_SOFT_S", 1.0)
    monkeypatch.setattr(limits, "BROWSE_PATIENT_S", 2.0)
    monkeypatch.setattr(limits, "SERVER_CONNECT_S", 1.5)
    monkeypatch.setattr(limits, "SERVER_CLOSE_S", 0.2)
    monkeypatch.setattr(limits, "RECONNECT_MAX_S", 0.01)
    monkeypatch.setattr(delivering, "KNOCK_REPLY_S", 5.0)
    monkeypatch.setattr(delivering, "KNOCK_NEXT_S", 0.2)
    monkeypatch.setitem(Pool.publish.__kwdefaults__, "within_s", 1.0)
    monkeypatch.setitem(Pool.withdraw.__kwdefaults__, "within_s", 0.5)
    monkeypatch.setitem(client.Link.ask.__kwdefaults__, "timeout_s", 1.5)


class Viewer:
    """A home that browses and knocks; `code` is what its command would end with."""

    def __init__(self, owner, folder, clock):
        self.evidence = EvidenceLog(folder / "viewer.db")
        standing = Standing(owner.state, self.evidence, clock)
        views = make_views(owner.state, standing, self.evidence, clock, addresses=lambda _: ())
        self.market = Market(owner.state, clock, owner.peer, views=views)
        ends = Whereabouts(b"t" * 32, ("10.0.0.1:4433",))
        self.knocking = Knocking(owner.state, owner.keys.identity, clock, market=self.market, ends=lambda: ends)
        self.clock = clock

    async def browse(self, *urls):
        try:
            return 0, await self.market.browse(list(urls), BrowseRequest())
        except BackupPeerError as exc:
            return int(exc.exit_code), []

    async def connect(self, peer, *urls):
        wish = RequestRecord(
            "ab" * 16, Direction.OUT, peer, 8 * MIB, 3600, 60, RequestState.WAITING, self.clock.now_ms()
        )
        try:
            verdict, _ = await self.knocking.knock(wish, list(urls))
        except BackupPeerError as exc:
            return int(exc.exit_code)
        assert verdict is Verdict.PENDING
        return 0

    def said_of(self, url):
        health = self.market.health.get(url)
        return "; ".join([*describe_faults(health, self.clock.now_ms()), health.error])


@pytest.fixture
def viewer(owner, tmp_path):
    made = Viewer(owner, tmp_path, TurnedClock(owner.clock.now_ms()))
    yield made
    made.evidence.close()


@pytest.fixture
def hosting(house):
    return Hosting(
        house.state,
        house.identity,
        house.clock,
        requests=house.requests,
        binding=lambda: b"",
        free=lambda slot: slot.storage_bytes,
    )


async def commit(crime, viewer, house, hosting, monkeypatch):
    """Live with a server that commits a crime, beside an honest one and then alone; return what came of it."""
    seen = SimpleNamespace()
    async with (
        serving(clock=viewer.clock) as honest,
        crooked(crime, monkeypatch, clock=viewer.clock, victim=honest.url) as crook,
    ):
        both = (crook.url, honest.url)
        await hosting.start(msgspec.structs.replace(offer(), servers=both))
        seen.first = await viewer.browse(*both)
        house.clock.ms += limits.OUTDATED_GRACE_S * 1000 + 1000
        viewer.clock.turn(limits.OUTDATED_GRACE_S + 1)
        await hosting.republish()
        seen.second = await viewer.browse(*both)
        viewer.clock.turn(limits.OUTDATED_GRACE_S + 1)
        seen.third = await viewer.browse(*both)
        seen.said = viewer.said_of(crook.url)
        seen.honest_said = viewer.said_of(honest.url)
        seen.connect = await viewer.connect(house.peer, *both)
        seen.heard = len(house.shown)
        seen.alone = await viewer.browse(crook.url)
        seen.connect_alone = await viewer.connect(house.peer, crook.url)
        seen.opened_elsewhere = crook.desk.opened_elsewhere
        with suppress(BackupPeerError):
            await hosting.close()
    return seen


@pytest.mark.parametrize("crime", Crime)
def test_beside_an_honest_server_it_is_harmless_and_alone_it_holds_up_at_most(
    crime, viewer, house, hosting, monkeypatch
):
    row, name = TABLE[crime], format_peer_id(house.peer)

    async def story():
        seen = await commit(crime, viewer, house, hosting, monkeypatch)
        for code, rows in (seen.first, seen.second, seen.third):
            assert code == 0
            (found,) = [one for one in rows if one.peer_id == name]
            assert (found.region, found.forked, found.trust_level) == ("", False, "unproven")
        assert row.says in seen.said
        assert seen.said or not row.says
        assert seen.honest_said == "", "nobody else is blamed"
        assert seen.connect == 0
        assert seen.heard == 1, "a knock is heard once, whatever happens to it"
        code, rows = seen.alone
        assert code == row.browse
        assert (name in [one.peer_id for one in rows]) == row.is_shown * (code == 0)
        assert seen.connect_alone == row.connect
        assert seen.opened_elsewhere == 0

    run(story())


def test_a_server_that_goes_half_open_is_found_out_by_a_ping(viewer, house, hosting, monkeypatch):
    monkeypatch.setattr(client, "_Connect", partial(client._Connect, ping_interval=1, ping_timeout=0.2))

    async def story():
        async with crooked(Crime.HALF_OPEN, monkeypatch, clock=viewer.clock) as crook:
            lost = asyncio.Event()
            hosting.on_servers = lambda is_shown: None if is_shown else lost.set()
            await hosting.start(msgspec.structs.replace(offer(), servers=(crook.url,)))
            await lost.wait()
            (state,) = hosting.pool.states()
            assert (state.connected, state.error) == (False, "connection lost")
            with suppress(BackupPeerError):
                await hosting.close()

    run(story())


def test_who_signs_two_offers_under_one_number_is_named_and_no_server_is_blamed(viewer):
    twin, now_ms = Host(), viewer.clock.now_ms()

    async def story():
        async with serving(clock=viewer.clock) as one, serving(clock=viewer.clock) as two:
            async with Pool([one.url], clock=viewer.clock) as here, Pool([two.url], clock=viewer.clock) as there:
                await here.publish(twin.signed(now_ms, now_ms=now_ms, availability=900))
                await there.publish(twin.signed(now_ms, now_ms=now_ms, availability=500))
                _, (row,) = await viewer.browse(one.url, two.url)
            assert (row.peer_id, row.forked) == (format_peer_id(twin.peer), True)
            for url in (one.url, two.url):
                assert viewer.said_of(url).endswith("that is their doing, not its; ")

    run(story())


def test_the_document_has_a_row_for_each_crime_with_its_codes_and_words():
    rows = {
        cells[1].strip("` "): cells
        for line in DOCUMENT.read_text().partition(HEADING)[2].splitlines()
        if len(cells := [cell.strip() for cell in line.split("|")]) > 6 and re.fullmatch(r"`[a-z-]+`", cells[1])
    }
    assert set(rows) == {str(crime) for crime in Crime} == {str(crime) for crime in TABLE}
    for crime, row in TABLE.items():
        codes = [int(code) for code in re.findall(r"\b(0|11|14)\b", rows[str(crime)][5])]
        assert codes == [row.browse, row.connect], crime
        assert row.says in rows[str(crime)][4]

"""A month of receipts, with real processes: signed by both, kept over a kill, heard of by a third, and a lie with them.

The clock of all processes is moved (`moved_clock`). The third one, a friend of the owner that keeps its own backups
there, has heard the host's name on the market; of the pair it learns by salted ids alone. Both hosts name one place, so
that a copy with each would count as one.
"""

from dataclasses import dataclass

import pytest

from backuppeer.control.auditing import AuditRequest
from backuppeer.control.choosing import ConnectPlan, ConnectPlanRequest
from backuppeer.control.client import Client
from backuppeer.control.history import ShowRequest
from backuppeer.control.reputation import Reputation, ReputationRequest
from backuppeer.control.showing import PeerAccount, ReceiptsHeld
from backuppeer.control.sockets import socket_path_for
from backuppeer.proof.charges import pack_charge
from e2e.charges import read_case
from e2e.harness import Home, Pair, World, wait_until
from e2e.moved_clock import Days
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@dataclass
class Three:
    """A host, its owner, and the owner's friend, who stores with the owner."""

    world: World
    days: Days
    host: Home
    owner: Home
    viewer: Home

    def meet(self, home: Home, name: str) -> None:
        """Have `home` begin a session with a host of its own, and audit it."""
        home.do("disconnect", name)
        list(door(home).work("audit", AuditRequest(peers=[name])))

    def thinks(self) -> Reputation:
        """What the viewer thinks of the host."""
        return door(self.viewer).call("reputation/explain", ReputationRequest(peer=self.host.peer_id()), Reputation)


def door(home: Home) -> Client:
    return Client(socket_path_for(home.path))


def months_of(home: Home, name: str, *, is_ours: bool) -> ReceiptsHeld:
    account = door(home).call("peers/show", ShowRequest(peer=name), PeerAccount)
    side = account.there if is_ours else account.here
    assert side is not None
    assert side.receipts is not None
    return side.receipts


@pytest.fixture
def three(world: World) -> Three:
    days = Days(world.path / "days")
    world.paths = str(days.folder)
    world.start_server()
    homes = {name: world.peer(name)[0] for name in ("host", "owner", "viewer")}
    for name in ("host", "owner"):
        homes[name].do("host", "--storage", "1GB", "--accept", "all", "--region", "DE-BER", "--detach", "--yes")
    made = Three(world, days, **homes)
    asking = ("--storage", "200MB", "--yes", "--wait", "60s", "--name")
    made.owner.do("connect", made.host.peer_id(), *asking, "anna")
    wait_until(lambda: len(made.viewer.do("browse").rows) == 2, "both offers to be listed")
    made.viewer.do("connect", made.owner.peer_id(), *asking, "olaf", "--verified")
    for home in (made.owner, made.viewer):
        make_random_files(world.path / f"of {home.path.name}", count=2, size_bytes=9_000_000, seed=62)
        home.do("backup", str(world.path / f"of {home.path.name}"))
    return made


def test_a_month_is_signed_by_both_outlives_a_kill_and_is_heard_of_by_a_third_and_so_is_a_lie(three: Three):
    asking = ConnectPlanRequest(servers=[three.world.servers], peer=three.host.peer_id())
    plan = door(three.viewer).call("connect/plan", asking, ConnectPlan)
    assert (plan.reason, plan.capped) == ("nothing known", [])
    assert any("it may be one machine with olaf" in risk and "the same place" in risk for risk in plan.risks), plan

    three.days.pass_by(10)
    three.meet(three.owner, "anna")
    assert months_of(three.owner, "anna", is_ours=True).months == 0
    assert not three.thinks().heard
    three.days.pass_by(21)
    three.meet(three.owner, "anna")
    wait_until(lambda: months_of(three.owner, "anna", is_ours=True).signed == 1, "the month to be signed")

    three.owner.kill_agent()
    three.host.kill_agent()
    shown = three.owner.do("peers", "show", "anna").last
    held = shown["there"]["receipts"]
    assert (held["months"], held["signed"], held["theirs"], held["lacking"]) == (1, 1, 1, [])
    assert held["newest_bytes"] >= 18_000_000
    three.host.do("peers")
    theirs = months_of(three.host, three.owner.peer_id(), is_ours=False)
    assert (theirs.signed, theirs.newest_bytes) == (1, held["newest_bytes"])

    three.days.pass_by(1)
    three.meet(three.viewer, "olaf")
    wait_until(lambda: three.thinks().heard, "the receipt to be heard of")
    [heard] = three.thinks().heard
    assert (heard.by, heard.kind) == ([three.owner.peer_id()], "receipt")
    assert heard.alpha > 0

    case = read_case(Pair(three.host, three.owner, "", three.host.peer_id(), {}, {}, {}))
    (three.owner.path / "proofs").mkdir(exist_ok=True)
    (three.owner.path / "proofs" / "anna.proof").write_bytes(pack_charge(case.wrong_answer()))
    three.days.pass_by(1)
    three.meet(three.viewer, "olaf")
    wait_until(lambda: three.thinks().caps, "the lie to be heard of")
    said = three.thinks()
    assert (said.trust <= 0.3, said.caps[0].name) == (True, "misbehaviour")
    assert "it broke its signed word" in said.reason

"""Choosing by trust, with real processes: nine months of audits made each host what the viewer believes of it.

The clock of all processes is moved (`moved_clock`), a week at a time; connecting, storing, audits, absence and loss are
real. Who falls short does so for one reason: carl and dora were there from the beginning, like anna.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pytest

from backuppeer.control.auditing import AuditRequest, AuditResult
from backuppeer.control.client import Client
from backuppeer.control.codec import convert_json
from backuppeer.control.sockets import socket_path_for
from e2e.harness import Home, Json, World, wait_until
from e2e.moved_clock import Days
from e2e.terminal import converse
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WEEKS = 36
"""What a stranger needs for .8 by small, flawless audits is 31 weeks."""
FRIEND_FROM = WEEKS - 14
"""A friend needs eleven."""
LOSS_WEEK = 24
SPELL_WEEKS = 4
NAMES = ("anna", "bea", "carl", "dora", "emil")


@dataclass
class Market:
    """Five hosts, and an owner that keeps its files with some of them."""

    world: World
    days: Days
    owner: Home
    words: str
    hosts: dict[str, Home]

    def offer(self, *names: str) -> None:
        """Put slots on offer; a listing of weeks ago has run out."""
        for name in names:
            self.hosts[name].do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")

    def connect(self, name: str, *options: str) -> None:
        words = ("--storage", "200MB", "--name", name, "--yes", "--wait", "60s")
        self.owner.do("connect", self.hosts[name].peer_id(), *words, *options)

    def rows(self, *options: str) -> dict[str, Json]:
        """What `browse` lists, by name, in its order."""
        by_id = {home.peer_id(): name for name, home in self.hosts.items()}
        return {by_id[str(row["peer_id"])]: row for row in self.owner.do("browse", *options).rows}

    def weeks(self) -> Iterator[int]:
        """Let a week pass each time."""
        for week in range(1, WEEKS + 1):
            self.days.pass_by(7)
            yield week


@pytest.fixture
def market(world: World) -> Market:
    days = Days(world.path / "days")
    world.paths = str(days.folder)
    world.start_server()
    owner, words = world.peer("owner")
    owner.do("config", "set", "audits", "off")  # by hand, so that no week has two
    made = Market(world, days, owner, words, {name: world.peer(name)[0] for name in NAMES})
    made.offer(*NAMES)
    return made


def test_the_hosts_that_pass_a_threshold_are_those_whose_history_earned_it_and_one_is_chosen(market: Market):
    owner, tree = market.owner, market.world.path / "files"
    make_random_files(tree, count=3, size_bytes=500_000, seed=61)
    assert {row["trust_level"] for row in market.rows().values()} == {"unproven"}
    for name in ("anna", "carl", "dora"):
        market.connect(name)
    owner.do("backup", str(tree))
    live_on(market)

    market.offer(*NAMES)
    wait_until(lambda: len(market.rows()) == len(NAMES), "all offers to be listed")
    rows = market.rows()
    assert list(rows)[2:] == ["dora", "carl", "emil"], "best first"
    assert [rows[name]["trust_level"] for name in NAMES] == ["trusted", "trusted", "new", "fair", "unproven"]
    assert rows["carl"]["capped"], "it says why"
    assert set(market.rows("--min-trust", "0.8")) == {"anna", "bea"}
    choose_again(market)


def live_on(market: Market) -> None:
    """Audit once a week; carl loses what it keeps, dora is off every second month, bea is met late, as a friend."""
    owner, hosts, is_off = market.owner, market.hosts, False
    for week in market.weeks():
        if week == FRIEND_FROM:
            market.offer("bea")
            market.connect("bea", "--verified")
            owner.do("backup", str(market.world.path / "files"))
        was_off, is_off = is_off, week // SPELL_WEEKS % 2 == 1
        if is_off != was_off:
            hosts["dora"].do("agent", "stop" if is_off else "start")
        if week == SPELL_WEEKS:
            away = owner.run("audit", "--now")
            assert (away.code, "dora" in str(away.last)) == (3, True), away
        elif week == LOSS_WEEK:
            for pack in hosts["carl"].path.glob("store/agreements/*/packs/*/*"):
                pack.unlink()
            caught = owner.run("audit", "--now")
            assert (caught.code, [e["name"] for e in caught.events if e["event"] == "fault"]) == (15, ["carl"])
        else:
            here = {"anna", "carl", *(["bea"] if week > FRIEND_FROM else []), *([] if is_off else ["dora"])}
            failed = audit(owner, here)
            assert not failed or (failed == ["carl"] and week > LOSS_WEEK), failed


def audit(owner: Home, names: Collection[str]) -> list[str]:
    """Audit hosts by the agent's own door, which spares a start of the command; return who failed. All must answer."""
    *_, last = Client(socket_path_for(owner.path)).work("audit", AuditRequest(peers=sorted(names)))
    done = convert_json(last.data, AuditResult)
    assert {host.alias for host in done.hosts} == set(names)
    assert not any(host.skipped for host in done.hosts), done
    return [host.alias for host in done.hosts if host.faults]


def choose_again(market: Market) -> None:
    """End with anna, whose history stays known; choose her from the list, say no, say yes, and store with her."""
    owner, anna = market.owner, market.hosts["anna"]
    owner.do("peers", "end", "anna", "--yes")
    assert owner.do("peers", "purge", "anna", "--yes", stdin=market.words + "\n").last["ended"] is True
    assert set(market.rows("--min-trust", "0.8")) == {"anna", "bea"}

    prefix = anna.peer_id()[:14]
    asking = ("connect", prefix, "--storage", "100MB")
    code, said = converse(owner, ["n"], *asking, at=("[y/N]",), json=False)
    assert code != 0
    assert "not connected: you said no" in said
    assert [row["peer_id"] for row in owner.do("peers").rows if row["quota_bytes"]].count(anna.peer_id()) == 0

    code, said = converse(owner, ["y"], *asking, at=("[y/N]",), json=False)
    assert code == 0, said
    assert re.search(r"trust +0\.8\d trusted", said), said
    assert re.search(r"ask .*anna.* for .*\? +\[y/N\]", said), said
    assert "connected to" in said
    done = owner.do("backup", str(market.world.path / "files"), "--to", "anna").last
    assert (done["peers"], done["errors"]) == ([anna.peer_id()], 0)

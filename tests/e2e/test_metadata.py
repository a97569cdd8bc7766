"""What servers are sent in a whole life, byte for byte: docs/privacy.md is the table of it (DESIGN 7, S4).

Two real servers, each behind a recorder; a host, an owner that is turned down, waits, is accepted, backs up, meets its
host again, loses everything and comes back from the words.
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

from backuppeer.agent.home.home import Home as HomeFolder
from backuppeer.agent.home.keyring import load_keys
from backuppeer.crypto.stamp import NO_WORK
from backuppeer.ids import PeerId, format_peer_id
from e2e.harness import Home, World, below, describe_tree, udp_ports, wait_request, wait_until
from e2e.recorder import Recorder, Visit
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "privacy.md"
SIZE = 777_777_777
TURNED_DOWN = 888_888_888
FIXED = {
    *("deposit", "deposited", "open-inbox", "challenge", "prove-inbox", "inbox-open"),
    *("leave-note", "noted", "open-note", "prove-note", "note"),
}
"""Messages of one size each, whatever they are about."""


class Life:
    """The peers, the recorders, and what must not be found in what these wrote down."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.recorders = [Recorder(), Recorder()]
        self.servers = []
        for recorder in self.recorders:
            self.servers.append(world.start_server(origin=recorder.url))
            recorder.server_port = int(world.servers.rpartition(":")[2])
        world.servers = ",".join(recorder.url for recorder in self.recorders)
        self.ports: set[int] = set()

    def note_ports(self, *homes: Home) -> None:
        for home in homes:
            self.ports.update(udp_ports(home.agent_pids()))

    def visits(self) -> list[Visit]:
        return [visit for recorder in self.recorders for visit in recorder.visits]

    def close(self) -> None:
        for recorder in self.recorders:
            recorder.close()


@pytest.fixture
def life(world):
    made = Life(world)
    yield made
    made.close()


def forms_of(key: bytes) -> list[bytes]:
    """How 32 bytes may be written."""
    return [key, key.hex().encode(), format_peer_id(PeerId(key)).encode()]


def forms_of_size(size: int) -> list[bytes]:
    return [str(size).encode(), b"\xce" + size.to_bytes(4, "big"), size.to_bytes(8, "big")]


def holds(text: bytes, needles: Iterable[bytes]) -> bool:
    return any(needle in text for needle in needles)


def live(life: Life) -> dict[str, list[bytes]]:
    """Live the life; return what a server might have found out, by the names that docs/privacy.md gives it."""
    world = life.world
    host, _ = world.peer("host")
    owner, words = world.peer("owner")
    keys = load_keys(HomeFolder(owner.path))
    tree = world.path / "files"
    make_random_files(tree, count=2, size_bytes=50_000, seed=7)
    host.do("host", "--storage", "2GB", "--detach", "--yes", "--accept", "ask")
    name = host.peer_id()
    wait_until(lambda: [row for row in owner.do("browse").rows if row["peer_id"] == name], "the offer to be listed")

    def ask(size: int) -> object:
        connecting = owner.start("connect", name, "--storage", str(size), "--name", "alice", "--yes", "--wait", "60s")
        connecting.wait_event("state", state="waiting")
        return connecting

    turned_down = ask(TURNED_DOWN)
    host.do("requests", "reject", str(wait_request(host)["request_id"]), "--yes")
    assert turned_down.wait().code == 13
    connecting = ask(SIZE)
    life.note_ports(host, owner)
    host.do("requests", "accept", str(wait_request(host)["request_id"]))
    assert connecting.wait().code == 0
    owner.do("backup", str(tree))
    wait_until(lambda: host.do("status").last["hosting"]["noted"] == 1, "the note to be left")
    owner.do("disconnect", "alice")
    owner.do("backup", str(tree))
    life.note_ports(host, owner)
    owner.do("agent", "stop")
    shutil.rmtree(owner.path)
    heir = world.home("heir")
    heir.do("recover", "--yes", stdin=words + "\n")
    heir.do("restore", "latest", "--target", str(world.path / "back"))
    assert describe_tree(below(world.path / "back", tree)) == describe_tree(tree)
    life.note_ports(host, heir)
    host_keys = load_keys(HomeFolder(host.path))
    return {
        "host-identity": forms_of(host_keys.identity.public),
        "owner-identity": [*forms_of(keys.identity.public), *forms_of(keys.authority), *forms_of(keys.device.public)],
        "repository": [bytes(keys.repository), bytes(keys.repository).hex().encode()],
        "peer-addresses": [f":{port}".encode() for port in life.ports],
        "wish": [*forms_of_size(SIZE), *forms_of_size(TURNED_DOWN)],
        "verdict": [b"pending", b"rejected", b"refused"],
        "names": [b"alice", world.path.name.encode(), b"files"],
    }


def test_in_a_whole_life_the_servers_are_sent_what_the_document_says_and_nothing_else(life):
    needles = live(life)
    everything = b"\0".join(visit.plain() for visit in life.visits())
    found = {what: holds(everything, forms) for what, forms in needles.items()}
    assert found == documented("server"), found
    check_messages(life)
    for server in life.servers:
        assert "127.0.0." not in "".join(server._errors), "no addresses in logs"


def check_messages(life: Life) -> None:
    """Sizes are fixed, each knock has one reply, the host's identity stands in offers only, sockets do one thing."""
    sizes, kinds = defaultdict(set), set()
    deposits, inboxes = set(), set()
    for visit in life.visits():
        asked = [(message, size) for message, size in visit.requests()]
        for message, size in [*asked, *visit.answers()]:
            kinds.add(str(message["t"]))
            sizes[message["t"]].add(size)
            if message["t"] == "message":
                sizes["sealed"].add(len(message["sealed"]))
            if message["t"] == "deposit":
                deposits.add((message["inbox"], message["sealed"]))
                assert message["work"] == NO_WORK, "nobody floods these servers, so they ask for none"
            if message["t"] == "open-inbox":
                inboxes.add(message["inbox"])
        assert len({message["t"] for message, _ in asked} & FIRST) <= 1, "a socket does one thing"
    for kind in FIXED & kinds:
        assert len(sizes[kind]) == 1, (kind, sizes[kind])
    assert len(sizes["sealed"]) == 1
    assert kinds == set(rows_of("messages")), "each message has a row in the document, and none has one in vain"
    by_inbox = defaultdict(set)
    for inbox, sealed in deposits:
        by_inbox[inbox].add(sealed)
    (at_host,) = [inbox for inbox, sealed in by_inbox.items() if len(sealed) > 1]
    replies = {inbox: sealed for inbox, sealed in by_inbox.items() if inbox != at_host}
    assert len(by_inbox[at_host]) == len(replies) >= 3, "turned down, waiting, accepted"
    assert {len(sealed) for sealed in replies.values()} == {1}, "one reply to each knock, whatever it says"
    assert set(by_inbox) <= inboxes


FIRST = {"publish", "browse", "deposit", "open-inbox", "leave-note", "open-note"}


def documented(party: str) -> dict[str, bool]:
    """Return of each thing in the table whether that party learns it."""
    rows = rows_of("learns")
    column = rows.pop("learns").index(party)
    return {what: cells[column].startswith("yes") for what, cells in rows.items() if cells[column] != "see there"}


def rows_of(table: str) -> dict[str, list[str]]:
    """Return the rows of a table of docs/privacy.md by their first cell; the heading's under the name of the table."""
    part = DOCUMENT.read_text().partition(f"<!-- {table} -->")[2].partition("\n\n")[0]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.strip().splitlines()]
    rows = {cells[0].strip("`"): cells for cells in lines[2:]}
    return rows | ({table: lines[0]} if table == "learns" else {})


def test_the_recorder_reads_what_clients_mask():
    masked = b"\x82\x85\x01\x02\x03\x04" + bytes(a ^ b for a, b in zip(b"hello", b"\x01\x02\x03\x04\x01", strict=True))
    visit = Visit(bytearray(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n" + masked), bytearray())
    assert b"hello" in visit.plain()
    assert re.search(rb"GET /", visit.plain())

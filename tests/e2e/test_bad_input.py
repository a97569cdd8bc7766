"""Whatever is wrong is said with its exit code and a hint, and nothing is lost or half-written (E1 to E5, E9)."""

import os
import shutil
import socket
import urllib.request
from pathlib import Path

import pytest

from backuppeer.limits import PARTS_PER_AGREEMENT
from e2e.harness import (
    Pair,
    Result,
    World,
    agree,
    below,
    describe_tree,
    find_port,
    udp_ports,
    unix_sockets,
    wait_request,
    wait_until,
)
from e2e.seen import note
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

GARBAGE = [
    b"\x00" * 64,
    b"\xff" * 5000,
    os.urandom(4096),
    b"GET / HTTP/1.1\r\nHost: " + b"a" * 70_000 + b"\r\n\r\n",
    b"POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{",
    b"POST /v1/backup HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{]{][",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" + os.urandom(3000),
]


def assert_says(result: Result, *codes: int) -> None:
    """The error has one of these codes, stands on stderr with a hint, and closes the JSON lines alike."""
    assert result.code in codes, result
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[0].startswith("error: "), result.stderr
    assert any(line.startswith("hint: ") for line in result.stderr.splitlines()), result.stderr
    if result.code != 2 or result.stdout.strip():  # a command line that can't be parsed may end before --json is known
        assert result.last["event"] == "error"
        assert result.last["code"] == result.code
        assert result.last["message"]


@pytest.fixture
def pair(world: World) -> Pair:
    return agree(world)


@pytest.fixture
def files(world: World) -> Path:
    root = world.path / "files"
    make_random_files(root, count=6, size_bytes=200_000, seed=3)
    return root


# --- words that make no sense
def test_a_mistyped_peer_id_is_refused_before_anything_is_sent(world: World):
    world.start_server()
    owner, _ = world.peer("owner")
    right = owner.peer_id()
    wrong = right[:-1] + ("q" if right[-1] != "q" else "p")
    assert_says(owner.run("connect", wrong, "--storage", "1GB", "--yes"), 2, 10)
    assert_says(owner.run("connect", "nobody", "--storage", "1GB", "--yes"), 2, 10)


@pytest.mark.parametrize("size", ["banana", "0", "-5GB", "1e400GB", "5 parsecs", "", "NaNGB"])
def test_a_size_without_sense_is_a_usage_error(world: World, size: str):
    home, _ = world.peer("home", servers="")
    result = home.run("host", f"--storage={size}", "--detach", "--yes")
    assert result.code == 2, result
    assert "Traceback" not in result.stderr


def test_a_missing_path_is_named_and_nothing_is_stored(pair: Pair, world: World):
    result = pair.owner.run("backup", str(world.path / "no such folder"))
    assert_says(result, 10)
    assert "no such folder" in str(result.last["message"])
    assert pair.owner.do("snapshots").rows == []


def test_an_unknown_snapshot_is_no_such_thing(pair: Pair, world: World, files: Path):
    pair.owner.do("backup", str(files))
    for name in ("deadbeef", "zz", "../../etc", "latest:/no/such/path"):
        assert_says(pair.owner.run("restore", name, "--target", str(world.path / "out")), 10)
    assert not (world.path / "out").exists() or not any((world.path / "out").iterdir())


def test_a_verb_in_a_home_without_identity_hints_at_init(world: World, files: Path):
    empty = world.home("empty", servers="")
    result = empty.run("backup", str(files))
    assert_says(result, 10)
    assert "init" in str(result.last["hint"])


def test_init_twice_is_refused_and_keeps_the_identity(world: World):
    home, _ = world.peer("home", servers="")
    before = home.peer_id()
    assert_says(home.run("init", "--yes"), 2)
    assert home.peer_id() == before


def test_a_question_without_a_terminal_is_a_usage_error_and_never_a_guess(world: World):
    world.start_server()
    asked = world.home("asked")
    assert_says(asked.run("init"), 2)
    assert_says(asked.run("backup", "/etc/hostname"), 10)  # so there is no identity
    host, _ = world.peer("host")
    host.do("host", "--storage", "1GB", "--detach", "--yes")
    owner, _ = world.peer("owner")
    wait_until(lambda: owner.do("browse").rows, "the offer to be listed")
    assert_says(owner.run("connect", host.peer_id(), "--storage", "100MB"), 2)
    assert host.do("requests").rows == []


def test_recovery_refuses_words_that_are_not_words_and_leaves_no_home(world: World):
    world.start_server()
    heir = world.home("heir")
    for text in ("", "abandon " * 23, "abandon " * 24, "hello kitty " * 12):
        assert_says(heir.run("recover", "--yes", stdin=text + "\n"), 2)
    assert_says(heir.run("backup", "/etc/hostname"), 10)


# --- nobody there, or somebody who says no
def test_no_signaling_server_in_reach_is_its_own_error(world: World):
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused, and nobody else gets the port
    home, _ = world.peer("home", servers=f"ws://127.0.0.1:{closed.getsockname()[1]}")
    assert_says(home.run("browse"), 14)
    assert_says(home.run("host", "--storage", "1GB", "--detach", "--yes"), 14)
    closed.close()


def test_a_peer_that_is_away_is_named_and_reached_again_when_it_is_back(pair: Pair, files: Path):
    pair.host.do("agent", "stop")
    result = pair.owner.run("backup", str(files))
    assert_says(result, 11)
    assert "alice" in str(result.last["message"]) or pair.host_id[:11] in str(result.last["message"])
    assert pair.owner.do("snapshots").rows == []
    pair.host.do("status")
    pair.owner.do("backup", str(files))


def test_a_refused_request_says_so_and_how_the_person_there_can_still_agree(world: World):
    world.start_server()
    host, _ = world.peer("host")
    owner, _ = world.peer("owner")
    host.do("host", "--storage", "1GB", "--accept", "ask", "--detach", "--yes")
    name = host.peer_id()
    wait_until(lambda: owner.do("browse").rows, "the offer to be listed")
    connecting = owner.start("connect", name, "--storage", "100MB", "--yes", "--wait", "60s")
    wait_until(lambda: host.do("requests").rows, "the request to arrive")
    host.do("requests", "reject", owner.peer_id())
    assert_says(connecting.wait(), 13)
    assert_says(owner.run("backup", "/etc/hostname"), 10)  # so there is no agreed peer
    again = owner.run("connect", name, "--storage", "100MB", "--yes", "--wait", "60s")
    assert_says(again, 13)
    assert f"requests accept {owner.peer_id()[:13]}" in again.last["hint"]
    (asked,) = host.do("requests").rows
    assert asked["state"] == "rejected"
    host.do("requests", "accept", str(asked["request_id"]))  # they changed their mind
    owner.do("connect", name, "--storage", "100MB", "--yes", "--wait", "60s")


def test_an_unanswered_request_is_pending_and_kept(world: World):
    world.start_server()
    host, _ = world.peer("host")
    owner, _ = world.peer("owner")
    host.do("host", "--storage", "1GB", "--accept", "ask", "--detach", "--yes")
    wait_until(lambda: owner.do("browse").rows, "the offer to be listed")
    assert_says(owner.run("connect", host.peer_id(), "--storage", "100MB", "--yes", "--wait", "1s"), 4)
    assert [row["direction"] for row in owner.do("requests").rows] == ["out"]


def test_more_space_than_is_offered_is_refused(world: World):
    world.start_server()
    host, _ = world.peer("host")
    owner, _ = world.peer("owner")
    host.do("host", "--storage", "100MB", "--accept", "all", "--detach", "--yes")
    wait_until(lambda: owner.do("browse").rows, "the offer to be listed")
    assert_says(owner.run("connect", host.peer_id(), "--storage", "200MB", "--yes"), 13)


# --- the disk
@pytest.mark.seen
def test_a_full_quota_refuses_the_rest_and_keeps_the_earlier_snapshot(world: World, files: Path):
    pair = agree(world, storage="70MB")
    first = pair.owner.do("backup", str(files)).last
    before = describe_tree(files)
    more = world.path / "more"
    make_random_files(more, count=24, size_bytes=4_000_000, seed=4)
    result = pair.owner.run("backup", str(more))
    assert_says(result, 13)
    assert [row["snapshot"] for row in pair.owner.do("snapshots").rows] == [first["snapshot"]]
    assert pair.stored_bytes() <= 70_000_000
    assert len(list((pair.host.path / "store" / "incoming").iterdir())) <= PARTS_PER_AGREEMENT
    target = world.path / "out"
    pair.owner.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, files)) == before
    asking = pair.owner.start("peers", "resize", "alice", "200MB", "--yes", "--wait", "60s")
    pair.host.do("requests", "accept", str(wait_request(pair.host)["request_id"]))
    assert asking.wait().code == 0
    pair.owner.do("backup", str(more))
    pair.owner.do("restore", "latest", "--target", str(world.path / "all"))
    assert describe_tree(below(world.path / "all", more)) == describe_tree(more)
    note(
        world,
        "E5",
        "a backup needs more than the host agreed to keep",
        result,
        verb="backup",
        code=13,
        way_out="`peers resize`, accepted there; the same backup then goes on, and a restore gives every byte",
        hinted="peers resize alice",
    )


def test_a_corrupted_pack_costs_the_named_files_alone(world: World, pair: Pair):
    tree = world.path / "many"
    make_random_files(tree, count=60, size_bytes=1_000_000, seed=6)
    pair.owner.do("backup", str(tree))
    with pair.packs()[0].open("r+b") as pack:  # 64 KiB of 16 MiB: one file or two
        pack.seek(pack.seek(0, os.SEEK_END) // 2)
        pack.write(os.urandom(65_536))
    target = world.path / "out"
    result = pair.owner.run("restore", "latest", "--target", str(target))
    assert_says(result, 15)
    lost = {Path(name).name for name in result.named_files()}
    assert 0 < len(lost) < 60, result.stdout[-2000:]
    restored = below(target, tree)
    for file in tree.iterdir():
        if file.name in lost:
            assert not (restored / file.name).exists() or (restored / file.name).read_bytes() != file.read_bytes()
        else:
            assert (restored / file.name).read_bytes() == file.read_bytes()


def test_a_store_that_is_unplugged_is_unavailable_and_never_empty(world: World, files: Path):
    store = world.path / "disk" / "store"
    store.parent.mkdir()
    pair = agree(world, store=store)
    first = pair.owner.do("backup", str(files)).last
    away = store.with_name("unplugged")
    store.rename(away)
    (files / "new").write_bytes(os.urandom(100_000))
    assert_says(pair.owner.run("backup", str(files)), 13, 11)
    assert not store.exists(), "no second, empty store grew in its place"
    assert [row["snapshot"] for row in pair.owner.do("snapshots").rows] == [first["snapshot"]]
    away.rename(store)
    pair.owner.do("backup", str(files))
    target = world.path / "out"
    pair.owner.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, files)) == describe_tree(files)


def test_an_unreadable_file_is_named_and_the_rest_is_kept(world: World, files: Path):
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:  # root reads everything unless the capability is taken away, for the agent too
        if shutil.which("setpriv") is None:
            pytest.skip("root without setpriv (util-linux) can't be refused a file")
        lost = "-dac_override,-dac_read_search"
        prefix = ("setpriv", "--bounding-set", lost, "--inh-caps", lost)
    world.start_server()
    host, _ = world.peer("host")
    owner, _ = world.peer("owner", prefix=prefix)
    host.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    wait_until(lambda: owner.do("browse").rows, "the offer to be listed")
    owner.do("connect", host.peer_id(), "--storage", "100MB", "--yes", "--wait", "60s")
    (files / "file-002").chmod(0)
    result = owner.run("backup", str(files))
    assert result.code == 3, result
    assert [Path(name).name for name in result.named_files()] == ["file-002"]
    target = world.path / "out"
    owner.do("restore", "latest", "--target", str(target))
    assert sorted(path.name for path in below(target, files).iterdir()) == [f"file-{n:03}" for n in range(6) if n != 2]


def test_a_restore_over_existing_files_asks_first(world: World, pair: Pair, files: Path):
    pair.owner.do("backup", str(files))
    target = world.path / "out"
    there = below(target, files)
    there.mkdir(parents=True)
    (there / "file-000").write_bytes(b"mine")
    assert_says(pair.owner.run("restore", "latest", "--target", str(target)), 2)
    assert (there / "file-000").read_bytes() == b"mine"


# --- garbage
def test_garbage_on_the_control_socket_leaves_the_agent_working(world: World):
    home, _ = world.peer("home", servers="")
    home.do("status")
    pids = home.agent_pids()
    paths = unix_sockets(pids)
    assert paths, "the agent listens on a Unix socket"
    for data in GARBAGE:
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(paths[0])
            send_and_leave(door, data)
    home.do("status")
    assert home.agent_pids() == pids


def test_garbage_on_the_signaling_port_leaves_the_server_working(world: World):
    world.start_server()
    host, _ = world.peer("host")
    host.do("host", "--storage", "1GB", "--detach", "--yes")
    port = find_port(world.servers)
    for data in GARBAGE:
        with socket.create_connection(("127.0.0.1", port)) as door:
            send_and_leave(door, data)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
        assert answer.status == 200
    viewer, _ = world.peer("viewer")
    wait_until(lambda: viewer.do("browse").rows, "the offer to be listed")


def test_garbage_on_the_transport_port_leaves_both_agents_working(pair: Pair, files: Path):
    pids = pair.host.agent_pids()
    ports = udp_ports(pids)
    assert ports, "the agent has bound UDP at 127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        for port in ports:
            for data in GARBAGE:
                door.sendto(data[:1400], ("127.0.0.1", port))
    pair.owner.do("backup", str(files))
    assert pair.host.agent_pids() == pids


def send_and_leave(door: socket.socket, data: bytes) -> None:
    """Send garbage and half-close; whatever comes back, or a reset in the middle, is fine."""
    door.settimeout(30)
    try:
        door.sendall(data)
        door.shutdown(socket.SHUT_WR)
        while door.recv(65_536):
            pass
    except (ConnectionError, TimeoutError):
        pass

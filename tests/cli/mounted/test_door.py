"""What a mount asks of the agent: each thing once, what comes next ahead of time, and again what failed."""

import os
import random
import threading
from types import SimpleNamespace

import pytest

from backuppeer.cli.mounted.door import Door
from backuppeer.control.events import Event
from backuppeer.control.mounting import MountEntry
from backuppeer.errors import IntegrityFault, LocalError, PeerUnreachable
from backuppeer.limits import CONTROL_PIECE_BYTES, MOUNT_AHEAD, MOUNT_FOLDERS, MOUNT_SMALL_BYTES
from noise import noise

PIECE = CONTROL_PIECE_BYTES


class Agent:
    """Serves a tree of dictionaries (folders) and bytes (files) as the agent does; `asked` is what it was asked."""

    def __init__(self, tree):
        self.tree, self.asked, self.bad, self.is_away = tree, [], set(), False
        self.lock = threading.Lock()

    def node(self, path):
        node = self.tree
        for part in [part for part in path.split("/") if part]:
            node = node[part]
        return node

    def work(self, route, request, *, timeout_s):
        self._note(route, request.paths)
        for number, path in enumerate(request.paths):
            rows = [
                MountEntry(
                    name=name,
                    kind="dir" if isinstance(child, dict) else "file",
                    mode=0o644,
                    uid=0,
                    gid=0,
                    size=0 if isinstance(child, dict) else len(child),
                    mtime_ns=0,
                    ctime_ns=0,
                    folder=number,
                )
                for name, child in sorted(self.node(path).items(), key=lambda pair: os.fsencode(pair[0]))
            ]
            yield Event(event="rows", data={"rows": rows})
        yield Event(event="done", data={"folders": len(request.paths)})

    def bulk(self, route, request, *, timeout_s):
        paths = request.paths if route == "mount/files" else [request.path]
        self._note(route, paths, getattr(request, "offset", 0))
        if self.is_away:
            raise PeerUnreachable("away")
        if not self.bad.isdisjoint(paths):
            raise IntegrityFault("wrong")
        data = b"".join(self.node(path) for path in paths)
        if route == "mount/read":
            data = data[request.offset : request.offset + request.length]
        yield memoryview(data)
        yield Event(event="done", data={"bytes": len(data)})

    def _note(self, *what):
        with self.lock:
            self.asked.append(what)

    def asked_for(self, route):
        return [what for what in self.asked if what[0] == route]


@pytest.fixture
def doors():
    made = []

    def make(tree):
        agent = Agent(tree)
        door = Door(agent, "m")
        made.append(door)
        return SimpleNamespace(agent=agent, door=door)

    yield make
    for door in made:
        door.close()


def read(world, path, offset=0, length=131_072):
    parts = path.split("/")
    entry = world.door.find_entry("s", parts)
    return world.door.read("s", parts, entry, offset=offset, length=length)


def test_a_folder_is_asked_for_once(doors):
    world = doors({"a": {"b": b"x"}})
    for _ in range(3):
        assert list(world.door.list_folder("s", ["a"]).entries) == ["b"]
    assert world.agent.asked == [("mount/folder", ["/a"])]
    assert world.door.find_entry("s", ["a", "no"]) is None


def test_the_second_folder_beside_others_brings_those_behind_it_along(doors):
    world = doors({f"{number:04}": {"f": b"x"} for number in range(300)})
    for number in range(300):
        name = f"{number:04}"
        assert world.door.find_entry("s", [name]).kind == "dir"
        assert list(world.door.list_folder("s", [name]).entries) == ["f"]
    sizes = [len(paths) for _, paths in world.agent.asked]
    assert sizes == [1, 1, MOUNT_FOLDERS, MOUNT_FOLDERS, 300 - 1 - 2 * MOUNT_FOLDERS]


def test_bytes_come_from_any_place_in_any_order(doors):
    data = noise(1, 5 * PIECE + 77)
    world = doors({"large": data})
    chance = random.Random(2)
    for _ in range(100):
        offset, length = chance.randrange(len(data) + 10), chance.choice([1, 4096, 131_072, 2 * PIECE])
        assert read(world, "large", offset, length) == data[offset : offset + length]


def test_who_reads_on_and_on_has_the_next_pieces_asked_for_ahead_and_each_once(doors):
    data = noise(1, 8 * PIECE)
    world = doors({"large": data})
    assert read(world, "large", 0) == data[:131_072]
    assert len(world.agent.asked_for("mount/read")) == 1
    assert read(world, "large", PIECE) == data[PIECE : PIECE + 131_072]
    wanted = [(("s", "/large"), number) in world.door._pieces for number in range(8)]
    assert wanted == [True] * (2 + MOUNT_AHEAD) + [False] * (6 - MOUNT_AHEAD)
    whole = b"".join(read(world, "large", at) for at in range(0, len(data), 131_072))
    assert whole == data
    asked = [offset for _, _, offset in world.agent.asked_for("mount/read")]
    assert len(asked) == len(set(asked)) == 8


def test_small_files_read_one_after_the_other_are_asked_for_together(doors):
    files = {f"{number:03}": os.urandom(number * 7) for number in range(300)}
    world = doors({"dir": files | {"100-large": bytes(MOUNT_SMALL_BYTES + 1)}})
    for name, data in files.items():
        assert read(world, f"dir/{name}") == data
    assert len(world.agent.asked_for("mount/files")) <= 6
    for name in ("001", "200"):
        assert read(world, f"dir/{name}", 3, 2) == files[name][3:5]


def test_a_file_that_is_wrong_does_not_fail_those_asked_for_with_it_and_is_asked_for_again(doors):
    files = {f"{number}": b"%d" % number for number in range(9)}
    world = doors({"dir": files})
    world.agent.bad = {"/dir/5"}
    for name, data in files.items():
        if name == "5":
            with pytest.raises(IntegrityFault):
                read(world, "dir/5")
        else:
            assert read(world, f"dir/{name}") == data
    world.agent.bad = set()
    assert read(world, "dir/5") == b"5"


def test_while_a_host_is_away_reads_fail_and_later_they_don_t(doors):
    world = doors({"dir": {f"{number}": b"%d" % number for number in range(5)}, "large": bytes(2 * PIECE)})
    world.agent.is_away = True
    for path in ("dir/1", "dir/2", "large"):
        with pytest.raises(PeerUnreachable):
            read(world, path)
    world.agent.is_away = False
    assert (read(world, "dir/1"), read(world, "dir/2"), read(world, "large", 0, 10)) == (b"1", b"2", bytes(10))


def test_fewer_bytes_than_there_should_be_are_an_error(doors, monkeypatch):
    world = doors({"large": bytes(PIECE)})
    world.door.find_entry("s", ["large"])
    world.agent.tree = {"large": bytes(10)}
    with pytest.raises(LocalError, match="10 bytes of"):
        read(world, "large")


def test_what_is_kept_stays_small(doors, monkeypatch):
    monkeypatch.setattr("backuppeer.cli.mounted.door.MOUNT_WINDOWS_BYTES", 3 * PIECE)
    world = doors({"large": bytes(20 * PIECE)})
    for at in range(20):
        read(world, "large", at * PIECE)
        assert world.door._pieces.held <= 3 * PIECE

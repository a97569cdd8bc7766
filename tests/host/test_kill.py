"""kill -9 at many points: what was acknowledged is there and right, what was not is not half there."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backuppeer.host.store import Store, create_store, open_store
from backuppeer.ids import PeerId, StoredId
from backuppeer.limits import MIB
from backuppeer.proof.merkle import compute_stored_id
from host.host_world import World, agreement_id

A = agreement_id()
KILLS = 16

# Prints "w" after each piece, the id after each acknowledged pack, "h<number>" after each countersigned head. Three
# threads, as the agent has several uploads.
WRITER = """
import os, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from host.host_world import World, agreement_id
from backuppeer.host.store import open_store
from backuppeer.proof.merkle import compute_stored_id
store = open_store(Path(sys.argv[1]), World().peer, floor_bytes=0)
def say(text):
    os.write(1, (text + chr(10)).encode())
def work():
    while True:
        data = os.urandom(200_000)
        stored = compute_stored_id(data)
        with store.receive(agreement_id(), stored, len(data)) as incoming:
            for start in range(0, len(data), 50_000):
                incoming.write(data[start:start + 50_000])
                say("w")
            incoming.commit()
        say(stored.hex())
def move_head():
    world = World()
    current = store.heads.get(agreement_id())
    number, head = (current.head.number, current.signed_head) if current else (0, b"")
    while True:
        number, head = number + 1, world.head(number + 1, head)
        answer = store.heads.put_head(agreement_id(), head, world.grant(), signer=world.host, now_ms=0)
        say(f"h{answer.stored.head.number}")
threading.Thread(target=move_head, daemon=True).start()
threading.Thread(target=work, daemon=True).start()
work()
"""


def run_until(directory: Path, lines: int) -> tuple[set[StoredId], int]:
    """Let a child write until it has said `lines` lines, kill it; return the packs and the head it acknowledged."""
    command = [sys.executable, "-c", WRITER, str(directory), str(Path(__file__).parent.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    head = max((int(line[1:]) for line in said if line.startswith(b"h")), default=0)
    return {StoredId(bytes.fromhex(line.decode())) for line in said if len(line) == 65}, head


def check_all(store: Store, acked: set[StoredId]) -> set[StoredId]:
    """Check that every acknowledged pack is there, and that every listed one is whole; return the listed ones."""
    assert not any((store.directory / "incoming").iterdir())
    listed: set[StoredId] = set()
    after = b""
    while page := store.list_packs(A, after=after):
        listed |= {row.stored for row in page}
        after = page[-1].stored
        for row in page:
            data = store.read(A, row.stored, offset=0, length=row.size)
            assert compute_stored_id(data) == row.stored
    assert acked <= listed
    usage = store.usage(A)
    assert (usage.packs, usage.used_bytes, usage.reserved_bytes) == (len(listed), 200_000 * len(listed), 0)
    return listed


@pytest.fixture
def killed_store(directory: Path, world: World) -> PeerId:
    store = create_store(directory, world.peer, floor_bytes=0)
    store.leases.put(world.agree(size_bytes=1024 * MIB))
    store.close()
    return world.peer


@pytest.mark.slow
def test_every_acknowledged_pack_survives_being_killed_at_many_points(
    directory: Path, killed_store: PeerId, rng: random.Random
) -> None:
    acked: set[StoredId] = set()
    torn = head = 0
    for _ in range(KILLS):
        packs, newest = run_until(directory, rng.randint(1, 60))
        acked |= packs
        head = max(head, newest)
        torn += len(list((directory / "incoming").iterdir()))
        store = open_store(directory, killed_store, floor_bytes=0)
        try:
            listed = check_all(store, acked)
            current = store.heads.get(A)
            assert (current.head.number if current else 0) >= head
        finally:
            store.close()
    assert acked
    assert head
    assert torn, "no kill hit a pack in mid-work: the test proves nothing"
    (directory / "catalogue.db").unlink()
    store = open_store(directory, killed_store, floor_bytes=0)
    try:
        assert check_all(store, acked) == listed
        assert store.rebuild_catalogue(verify=True).notes() == []
    finally:
        store.close()

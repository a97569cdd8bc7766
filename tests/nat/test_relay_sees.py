"""Every byte that a relay passes on in a life of two peers that reach each other only through it (docs/privacy.md).

What goes over TCP is recorded; what observers are sent is QUIC to them, and says of a peer what `ask-relay`
says, its transport key.
"""

import zlib
from collections import Counter

import pytest

from backuppeer.agent.home.home import Home as HomeFolder
from backuppeer.agent.home.keyring import load_keys
from e2e.harness import below, describe_tree, udp_ports
from e2e.recorder import frames_of
from e2e.test_metadata import FIRST, documented, forms_of, forms_of_size, holds, rows_of
from e2e.trees import make_random_files
from nat.lab import Nat, back_up, offer, opened, session_with, why_not

REASON = why_not()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(REASON), reason=REASON or "there is a lab"),
]
SIZE = 100_000_000
TEXT = b"what nobody but the owner reads, again and again. "
SAID = {0: {1, 4, 5, 9, 10}, 1: {0, 2, 6, 7, 8, 9, 10, 13}}
"""Types of frames, by direction: asked, told."""


def relayed(visits):
    """Return the visits to the relay."""
    return [visit for visit in visits if bytes(visit.asked).startswith(b"GET /relay") and frames_of(bytes(visit.told))]


def live(lab):
    """Offer, browse, connect, back up and restore, all through the relay; return what must not be found."""
    host, owner = lab.machine("host", Nat.SYMMETRIC), lab.machine("owner", Nat.SYMMETRIC)
    tree = lab.world.path / "files"
    make_random_files(tree, count=2, size_bytes=400_000, seed=7)
    (tree / "secret-name.txt").write_bytes(TEXT * 20_000)
    offer(host)
    back_up(owner, host, tree)
    assert session_with(owner, host)["path"] == "relayed"
    target = lab.world.path / "back"
    owner.home.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)
    assert session_with(owner, host)["path"] == "relayed", "to the end"
    ports = {port for machine in (host, owner) for port in udp_ports(machine.home.agent_pids())}
    hosts, owners = (load_keys(HomeFolder(machine.home.path)) for machine in (host, owner))
    return {
        "host-identity": forms_of(hosts.identity.public),
        "owner-identity": [
            *forms_of(owners.identity.public),
            *forms_of(owners.authority),
            *forms_of(owners.device.public),
        ],
        "repository": [bytes(owners.repository), bytes(owners.repository).hex().encode()],
        "wish": forms_of_size(SIZE),
        "verdict": [b"pending", b"accepted", b"refused"],
        "names": [b"secret-name", lab.world.path.name.encode(), Nat.SYMMETRIC.value.encode()],
        "contents": [TEXT[:16], *(file.read_bytes()[:16] for file in tree.iterdir())],
        "addresses": [b"192.168.", *(f":{port}".encode() for port in ports)],
    }


def test_a_relay_sees_two_transport_keys_and_ciphertext_of_those_who_meet_only_through_it():
    with opened(4, is_recorded=True) as lab:
        needles = live(lab)
        visits = lab.recorder.visits
        through = relayed(visits)
        seen = b"\0".join(visit.plain() for visit in through)
        assert len(seen) > 2 * 800_000, "the backup, and the restore"
        found = {what: holds(seen, forms) for what, forms in needles.items()}
        assert not any(found.values()), found
        said = documented("relay")
        assert {what for what, is_seen in said.items() if is_seen} == {"peer-addresses"}, "of their sockets, in no byte"
        keys = check_frames(through)
        check_signaling([visit for visit in visits if visit not in through], keys)


def check_frames(through):
    """All frames are of known types, and name two transport keys; what they carry can't be told from noise."""
    keys, bodies, kinds = Counter(), bytearray(), set()
    for visit in through:
        for direction, data in enumerate((visit.asked, visit.told)):
            for frame in frames_of(bytes(data)):
                assert frame[0] in SAID[direction], (direction, frame[0])
                kinds.add(frame[0])
                if frame[0] in {1, 4, 5, 6, 7, 8}:
                    keys[frame[1:33]] += 1
                if frame[0] in {4, 5}:
                    bodies += frame[36 if frame[0] == 5 else 34 :]
    assert {1, 2}.issubset(kinds)
    assert len(keys) == 2, "the host's and the owner's, and none else"
    assert len(zlib.compress(bytes(bodies), 9)) > 0.99 * len(bodies)
    return set(keys)


def check_signaling(visits, keys):
    """Each socket does one thing; a transport key is named by `ask-relay` alone, upon a socket that says no more."""
    kinds, named = set(), set()
    for visit in visits:
        asked = [message for message, _ in visit.requests()]
        kinds |= {str(message["t"]) for message in [*asked, *(message for message, _ in visit.answers())]}
        assert len({message["t"] for message in asked} & (FIRST | {"ask-relay"})) <= 1
        if any(key in visit.plain() for key in keys):
            (message,) = asked
            assert message["t"] == "ask-relay"
            named.add(message["transport"])
    assert named == keys
    assert {"ask-relay", "relay-is"} <= kinds <= {*rows_of("messages"), *rows_of("elsewhere")}

"""How many connections a server takes where the system bounds its open files."""

import resource
import subprocess
import sys

import pytest

from backuppeer.cli.descriptors import bound_connections, describe_room
from backuppeer.signaling.server.caps import Caps

BOUND = """
import resource
from backuppeer.cli.descriptors import bound_connections, describe_room
from backuppeer.signaling.server.caps import Caps
resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
caps = bound_connections(Caps(connections=1000, refusals=10))
print(caps.connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
print(describe_room(caps))
"""
REASON = ": the system allows {} open files (ulimit -Hn; LimitNOFILE of a unit)"


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "then", "why"),
    [
        (256, 2000, 1000, 1074, ""),
        (256, 1074, 1000, 1074, REASON.format("1,074")),
        (256, 500, 426, 500, REASON.format("500")),
        (1500, 1500, 1000, 1500, ""),
        (64, 64, 1, 64, REASON.format("64")),
    ],
)
def test_a_server_takes_as_many_connections_as_it_may_have_files(soft, hard, connections, then, why):
    script = BOUND.replace("SOFT", str(soft)).replace("HARD", str(hard))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    counts, text = done.stdout.splitlines()
    assert counts == f"{connections} {then}"
    assert text == f"room for {connections:,} connections, two of each host{why}"


def test_what_is_wanted_is_left_alone_where_there_is_room():
    caps = Caps(connections=min(100, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2), refusals=1)
    assert bound_connections(caps) == caps
    assert describe_room(caps) == f"room for {caps.connections} connections, two of each host"

"""The agent of a real home is asked all that its document allows, and much that it does not: no request is its fault.

`make fuzz-api [EXAMPLES=100]` asks more often.
"""

import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from backuppeer.control.routes import ROUTES
from control.wild import ENDING, Fuzzer, list_operations, running_agent

EXAMPLES = int(os.environ.get("API_EXAMPLES", "2"))
"""Of each route, and of each kind of request: such as the document allows, and such as it does not."""
PARTS = 2
NET = Path("/proc/net")
EXTREMES = {
    "int": [-1, 2**63, 2**64],
    "float": [-1.0, 1e308],
    "str": ["\0\n", "\udcff", "\ud800", "x" * 10_000],
    "list": [["x" * 1000] * 50, ["\0", "\udcff", ""], ["\ud800"]],
}
SOCKET = """
import os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
except PermissionError:
    print("denied")
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.timeout(120 + 60 * EXAMPLES)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_request_that_the_document_allows_or_forbids_is_a_fault_of_the_agent(tmp_path, part):
    from schemathesis import GenerationMode  # noqa: PLC0415 - takes seconds, and every run of tests collects this file

    names = [name for name in ROUTES if name not in ENDING][part::PARTS]
    with running_agent(tmp_path) as agent:
        fuzzer = Fuzzer(agent, tmp_path / "places")
        operations = list_operations(agent.openapi(), lambda name: name in names)
        assert len(operations) == len(names)
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                fuzzer.run(operation, examples=EXAMPLES, mode=mode)
    assert fuzzer.asked > len(names) * EXAMPLES
    assert fuzzer.findings == []


@pytest.mark.slow
@pytest.mark.timeout(300)  # nine hundred requests; ten seconds on a machine that does nothing else
def test_no_extreme_value_of_any_field_is_a_fault_of_the_agent(tmp_path):
    with running_agent(tmp_path) as agent:
        fuzzer = Fuzzer(agent, tmp_path / "places")
        for name, body in list_extremes():
            fuzzer.send(f"/v1/{name}", body)
    assert fuzzer.asked > 500
    assert fuzzer.findings == []


def list_extremes():
    """Yield requests of which one field has an extreme value, and the others what is usual."""
    for name, route in ROUTES.items():
        fields = msgspec.structs.fields(route.request)
        usual = {each.name: list_values(each.type)[-1] for each in fields if each.required}
        for each in fields if name not in ENDING else ():
            for value in list_values(each.type) if each.name != "servers" else ():
                yield name, {**usual, each.name: value}


def list_values(kind):
    """Return extreme values of a field's type."""
    words = str(kind)
    if "list" in words or "tuple" in words:
        return EXTREMES["list"]
    return [value for each in ("int", "float", "str") if each in words for value in EXTREMES[each]] or [{}]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_nobody_else_reaches_the_api_neither_by_the_socket_nor_by_the_network(tmp_path):
    with running_agent(tmp_path) as agent:
        path = agent.home / "agent.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(agent.home.stat().st_mode) == 0o700
        for folder in [agent.home, *agent.home.parents]:
            if folder.stat().st_mode & 0o001 == 0:  # so that it is the socket itself that says no
                folder.chmod(folder.stat().st_mode | 0o001)
        words = [sys.executable, "-c", SOCKET, str(path)]
        told = subprocess.run(words, capture_output=True, check=True)
        assert told.stdout == b"denied\n"
        assert list_tcp_listeners(agent.pid) == []


def list_tcp_listeners(pid):
    """Return the inodes of sockets of a process at which TCP is accepted."""
    mine = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            mine.add(str(link.readlink()))
    lines = [line.split() for name in ("tcp", "tcp6") for line in (NET / name).read_text().splitlines()[1:]]
    return [line for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in mine]

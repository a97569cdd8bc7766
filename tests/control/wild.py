"""Requests that the control API's document allows, and some that it does not, for the agent of a real home.

What is made comes from schemathesis, out of the document that the agent itself serves. Folders that a request names are
moved below the test's own, so that nobody's files are touched.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis

from backuppeer.agent.home.home import Home
from backuppeer.cli.homes import create_peer
from backuppeer.control.api import Nothing
from backuppeer.control.client import Client
from backuppeer.control.frames import MEDIA_TYPE
from backuppeer.control.routes import ROUTES
from backuppeer.control.stopping import StopResult

PLACES = frozenset({"store", "directory", "target", "paths"})
"""Fields that name what lies on this machine."""
ENDING = frozenset({"stop"})
"""Routes that end the agent, so that the rest would be asked of nobody."""
ANSWER_S = 1.0
"""A request may wait for peers that are not there: nobody listens for longer than this."""
UNEXPECTED = 1


@dataclass
class Agent:
    """A real one, in a process of its own."""

    home: Path
    client: Client
    pid: int

    def openapi(self) -> dict[str, Any]:
        """Return the document that it serves."""
        return json.loads(self.ask("GET", "/v1/openapi.json", b"")[1])

    def ask(self, method: str, path: str, body: bytes, media_type: str = "application/json") -> tuple[int, bytes]:
        """Return status and what came of the answer within its time."""
        line = http.client.HTTPConnection("localhost", timeout=ANSWER_S)
        line.sock = socket.socket(socket.AF_UNIX)
        line.sock.settimeout(ANSWER_S)
        came = b""
        try:
            line.sock.connect(str(self.home / "agent.sock"))
            line.request(method, path, body, {"content-type": media_type})
            answer = line.getresponse()
            with suppress(TimeoutError, http.client.HTTPException):
                while part := answer.read1(2**20):
                    came += part
        except TimeoutError:
            return 0, b""
        else:
            return answer.status, came
        finally:
            line.close()


@contextmanager
def running_agent(folder: Path) -> Iterator[Agent]:
    """Run the agent of a new home in `folder`, which hears of nobody."""
    home = Home(folder / "home")
    create_peer(home, bytes(32))
    ours, theirs = os.pipe()
    env = os.environ | {"BACKUPPEER_BIND": "127.0.0.1", "BACKUPPEER_SERVERS": ""}
    words = [sys.executable, "-m", "backuppeer.cli.serve", "--home", str(home.path), "--tell", str(theirs)]
    with (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(words, cwd=folder, env=env, pass_fds=[theirs], stderr=err)
    os.close(theirs)
    with os.fdopen(ours, "rb") as told:
        assert (reason := told.read()) == b"", reason
    agent = Agent(home.path, Client(home.path / "agent.sock"), process.pid)
    try:
        yield agent
        assert process.poll() is None, (folder / "stderr").read_text()
        agent.client.call("stop", Nothing(), StopResult)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@dataclass
class Finding:
    """What an agent should not have answered."""

    route: str
    body: bytes
    said: str


@dataclass
class Fuzzer:
    """Asks, and looks at what comes back."""

    agent: Agent
    folder: Path
    findings: list[Finding] = field(default_factory=list)
    asked: int = 0

    def run(self, operation: Any, *, examples: int, mode: Any) -> None:
        """Ask for one route so many times."""

        @hypothesis.settings(
            max_examples=examples,
            database=None,
            deadline=None,
            derandomize=True,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            self.send(operation.path, case.body)

        ask()

    def send(self, path: str, body: Any) -> None:
        """Ask for one route with one body, raw or to be encoded."""
        body = self._encode(body)
        is_feed = ROUTES[path.removeprefix("/v1/")].feed
        media_type = MEDIA_TYPE if is_feed else "application/json"
        if is_feed:
            body = _frame(body)
        self.asked += 1
        status, came = self.agent.ask("POST", path, body, media_type)
        if said := judge(status, came):
            self.findings.append(Finding(path, body[:300], said))

    def _encode(self, body: Any) -> bytes:
        if isinstance(body, bytes):
            return body
        if type(body).__name__ == "NotSet":
            return b""
        try:
            return json.dumps(self._move(body)).encode()
        except (TypeError, ValueError):
            return b""

    def _move(self, value: Any, name: str = "") -> Any:
        """Return a body in which all places are below the folder."""
        if isinstance(value, dict):
            return {key: self._move(each, key) for key, each in value.items()}
        if isinstance(value, list):
            return [self._move(each, name) for each in value]
        return f"{self.folder}/{value}" if isinstance(value, str) and name in PLACES else value


def judge(status: int, came: bytes) -> str:
    """Return what is wrong with an answer, "" if nothing: 5xx, or a stream that ends with an unexpected error."""
    if status >= 500:
        return f"{status} {came[:300]!r}"
    for line in came.splitlines():
        with suppress(ValueError, TypeError, KeyError):
            told = json.loads(line)
            if told["event"] == "error" and told["data"]["code"] == UNEXPECTED:
                return f"stream: {told['data']}"
    return ""


def _frame(body: bytes) -> bytes:
    """Return bytes as the first frame of a feed, whatever they are."""
    return b"\0" + len(body).to_bytes(4, "big") + body


def list_operations(document: dict[str, Any], choose: Callable[[str], bool]) -> list[Any]:
    """Return the operations of a document whose route is chosen."""
    import schemathesis  # noqa: PLC0415 - takes seconds, and every run of tests collects this file

    for path in document["paths"].values():
        content = path["post"]["requestBody"]["content"]
        if feed := content.pop(MEDIA_TYPE, None):
            content["application/json"] = {"schema": feed["schema"]["x-request"]}  # framed when it is sent
    schema = schemathesis.openapi.from_dict(document)
    schema.config.base_url = "http://localhost"
    operations = (result.ok() for result in schema.get_all_operations())
    return [each for each in operations if each.method == "post" and choose(each.path.removeprefix("/v1/"))]

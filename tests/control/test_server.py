import asyncio
import http.client
import json
import socket
import threading

import msgspec
import pytest
from starlette.requests import Request as HttpRequest
from structlog.testing import capture_logs

from backuppeer import __version__
from backuppeer.control.api import (
    EntryRow,
    HostRequest,
    LsRequest,
    Nothing,
    PeerRow,
    PingResult,
    Request,
)
from backuppeer.control.client import AgentNotRunning, Client
from backuppeer.control.codec import encode_json
from backuppeer.control.events import ErrorFile, Event, Progress
from backuppeer.control.openapi import build_openapi
from backuppeer.control.routes import ROUTES
from backuppeer.control.saving import BackupRequest, BackupResult
from backuppeer.control.server import EVENT_QUEUE, _read_body, build_app
from backuppeer.control.sessions import DisconnectRequest
from backuppeer.control.stopping import StopResult
from backuppeer.errors import (
    AuthenticationFault,
    BackupPeerError,
    DamagedStateError,
    ExitCode,
    IncompleteError,
    IntegrityFault,
    InterruptedByUserError,
    LocalError,
    NoSignaling,
    NotFoundError,
    PeerUnreachable,
    PendingError,
    RefusedError,
    StoreUnavailable,
    UserError,
)
from backuppeer.limits import CONTROL_BODY_BYTES, CONTROL_LINE_BYTES
from control.dummy import PEER, Dummy, given, telling

RESULT = BackupResult(
    snapshot="ab" * 32, files=2, bytes=10, new_bytes=10, sent_bytes=12, seconds=0.5, errors=0, peers=[PEER]
)


def post(path, route, body, *, method="POST", headers=None):
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request(method, f"/v1/{route}", body, headers or {})
    response = connection.getresponse()
    status, data = response.status, response.read()
    connection.close()
    return status, json.loads(data)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "agent.sock"


def test_an_answer_route_returns_the_result_struct(place):
    with Dummy(place, {}) as dummy:
        assert dummy.client.call("ping", Nothing(), PingResult).peer_id == PEER


def test_the_handler_gets_the_decoded_request(place):
    with Dummy(place, {"disconnect": given(StopResult(stopped=True))}) as dummy:
        dummy.client.call("disconnect", DisconnectRequest(peer="alice", servers=["ws://a"]), StopResult)
        assert dummy.requests == [("disconnect", DisconnectRequest(peer="alice", servers=["ws://a"]))]


def test_a_work_route_streams_its_events_and_ends_with_done(place):
    progress = Progress(phase="backup", files=1)
    events = [Event(event="progress", data=msgspec.to_builtins(progress)), Event(event="note", data={"text": "x"})]
    with Dummy(place, {"backup": telling(events, RESULT)}) as dummy:
        seen = list(dummy.client.work("backup", BackupRequest(paths=["/a"])))
    assert seen == [*events, Event(event="done", data=msgspec.to_builtins(RESULT))]


def test_events_arrive_while_the_work_still_runs(place):
    go_on = asyncio.Event()

    async def backup(request, emit):
        await emit(Event(event="note", data={"text": "first"}))
        await go_on.wait()
        return RESULT

    with Dummy(place, {"backup": backup}) as dummy:
        events = dummy.client.work("backup", BackupRequest(paths=["/a"]))
        assert next(events).data == {"text": "first"}
        dummy.call_soon(go_on.set)
        assert next(events).event == "done"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (LocalError, LocalError),
        (UserError, UserError),
        (IncompleteError, IncompleteError),
        (PendingError, PendingError),
        (NotFoundError, NotFoundError),
        (PeerUnreachable, PeerUnreachable),
        (AuthenticationFault, AuthenticationFault),
        (RefusedError, RefusedError),
        (StoreUnavailable, RefusedError),
        (NoSignaling, NoSignaling),
        (IntegrityFault, IntegrityFault),
        (DamagedStateError, IntegrityFault),
        (InterruptedByUserError, InterruptedByUserError),
    ],
)
def test_errors_come_back_with_class_code_message_and_hint(place, raised, expected):
    error = raised("it broke", hint="mend it")
    with Dummy(place, {"peers": given(error), "backup": telling([], error)}) as dummy:
        for call in (
            lambda: dummy.client.call("peers", Nothing(), list[PeerRow]),
            lambda: list(dummy.client.work("backup", BackupRequest(paths=[]))),
        ):
            with pytest.raises(BackupPeerError) as caught:
                call()
            assert type(caught.value) is expected
            assert (caught.value.exit_code, caught.value.message, caught.value.hint) == (
                raised.exit_code,
                "it broke",
                "mend it",
            )


def test_every_exit_code_but_done_is_an_error_class():
    from backuppeer.control.client import error_from  # noqa: PLC0415
    from backuppeer.control.events import ErrorResult  # noqa: PLC0415

    for code in set(ExitCode) - {ExitCode.DONE, ExitCode.OUTPUT_CLOSED}:  # an agent has no output that is read
        assert error_from(ErrorResult(code=code, message="m")).exit_code == code


def test_an_unexpected_exception_tells_its_type_and_nothing_of_its_inside(place):
    secret = ZeroDivisionError("the secret path")
    with Dummy(place, {"peers": given(secret), "backup": telling([], secret)}) as dummy:
        for call in (
            lambda: dummy.client.call("peers", Nothing(), list[PeerRow]),
            lambda: list(dummy.client.work("backup", BackupRequest(paths=[]))),
        ):
            with pytest.raises(LocalError, match=r"^unexpected error: ZeroDivisionError$"):
                call()
        _, body = post(place, "peers", b"{}")
        assert "secret" not in json.dumps(body)
        assert "Traceback" not in json.dumps(body)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", ""),
        (b"[]", ""),
        (b"\xff\xfe", ""),
        (b'{"peer": 3}', "$.peer"),
        (b"{}", "peer"),
        (b'{"peer": "a", "pear": 1}', "pear"),
        (b"[" * 100_000, ""),
        (b'{"peer": "\\udc80", "pear": 1}', "pear"),
    ],
)
def test_a_bad_body_is_refused_with_400_naming_the_field(place, body, named):
    with Dummy(place, {}) as dummy:
        status, said = post(place, "disconnect", body)
        assert status == 400
        assert said["code"] == ExitCode.USAGE
        assert named in said["message"]
        assert dummy.requests == []


def test_a_body_over_the_cap_is_refused_and_the_server_lives_on(place):
    with Dummy(place, {}) as dummy:
        status, said = post(place, "disconnect", b" " * (CONTROL_BODY_BYTES + 1))
        assert status == 400
        assert "larger" in said["message"]
        assert dummy.client.call("ping", Nothing(), PingResult).peer_id == PEER


def test_a_chunked_body_over_the_cap_is_refused_without_reading_it_all(place):
    def pieces():
        for _ in range(64):
            yield b" " * (CONTROL_BODY_BYTES // 32)

    with Dummy(place, {}) as dummy:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(place))
        try:
            connection.request("POST", "/v1/disconnect", pieces(), encode_chunked=True)
            assert connection.getresponse().status == 400
        except (BrokenPipeError, ConnectionResetError):
            pass  # closed on us in the middle of it: as good
        connection.close()
        assert dummy.requests == []


def test_a_client_that_leaves_in_the_middle_of_its_request_is_no_fault_of_the_program():
    told = [{"type": "http.request", "body": b'{"peer"', "more_body": True}, {"type": "http.disconnect"}]

    async def receive():
        return told.pop(0)

    with pytest.raises(UserError, match="broke off"):
        asyncio.run(_read_body(HttpRequest({"type": "http"}, receive)))


def test_the_client_refuses_a_request_over_the_cap_by_itself(place):
    with pytest.raises(UserError, match="larger"):
        Client(place).call("backup", BackupRequest(paths=["x" * CONTROL_BODY_BYTES]), BackupResult)


def test_an_event_as_long_as_a_line_may_be_is_read_and_a_longer_one_refused(place):
    def of_length(size):
        frame = len(encode_json(Event(event="note", data={"text": ""}))) + 1
        return Event(event="note", data={"text": "x" * (size - frame)})

    longest = of_length(CONTROL_LINE_BYTES)
    with Dummy(place, {"backup": telling([longest, of_length(CONTROL_LINE_BYTES + 1)], RESULT)}) as dummy:
        events = dummy.client.work("backup", BackupRequest(paths=[]))
        assert next(events) == longest
        with pytest.raises(LocalError, match=f"more than {CONTROL_LINE_BYTES} bytes"):
            next(events)


def test_unknown_routes_and_methods_answer_in_json(place):
    with Dummy(place, {}):
        assert post(place, "nonsense", b"{}")[0] == 404
        status, said = post(place, "ping", None, method="GET")
        assert status == 405
        assert said["code"] == ExitCode.USAGE


def test_the_openapi_document_is_served(place):
    with Dummy(place, {}):
        status, document = post(place, "openapi.json", None, method="GET")
    assert status == 200
    assert document == json.loads(json.dumps(build_openapi(__version__)))


def test_closing_the_stream_cancels_the_work(place):
    cancelled = threading.Event()

    async def host(request, emit):
        await emit(Event(event="note", data={"text": "on offer"}))
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with capture_logs() as logs, Dummy(place, {"host": host}) as dummy:
        events = dummy.client.work("host", HostRequest(storage=1))
        next(events)
        events.close()
        assert cancelled.wait(10)
        assert [(entry["event"], entry["route"]) for entry in logs] == [
            ("the command went away: its work is cancelled", "host")
        ]


def test_work_that_nobody_reads_drops_progress_and_waits_with_the_rest(place):
    ended = threading.Event()

    async def backup(request, emit):
        for number in range(EVENT_QUEUE * 20):
            await emit(Event(event="progress", data={"phase": "x" * 4096, "files": number}))
        await emit(Event(event="note", data={"text": "kept"}))
        ended.set()
        return RESULT

    with Dummy(place, {"backup": backup}) as dummy:
        events = dummy.client.work("backup", BackupRequest(paths=[]))
        next(events)
        rest = list(events)
    assert ended.is_set()
    assert [event.event for event in rest][-2:] == ["note", "done"]


def test_stopping_the_server_ends_open_streams_with_an_error_and_removes_the_socket(place):
    async def host(request, emit):
        await emit(Event(event="note", data={"text": "on offer"}))
        await asyncio.Event().wait()

    with Dummy(place, {"host": host}) as dummy:
        events = dummy.client.work("host", HostRequest(storage=1))
        next(events)
        dummy.call_soon(dummy.server.stop)
        with pytest.raises(InterruptedByUserError, match="stopped"):
            list(events)
    assert not place.exists()


def test_a_server_that_nobody_asks_has_nothing_to_do_in_the_next_second(place):
    """What wakes an idle agent ten times a second empties the battery of a laptop that does nothing."""
    with Dummy(place, {}) as dummy:
        dummy.client.call("ping", Nothing(), PingResult)
        seen, told = [], threading.Event()

        def look():
            soon = dummy.loop.time() + 1  # a connection that was used is closed later
            seen.extend(t for t in dummy.loop._scheduled if not t.cancelled() and t.when() < soon)
            told.set()

        dummy.call_soon(look)
        assert told.wait(10)
    assert seen == []


def test_stopping_the_server_leaves_the_socket_of_an_agent_in_a_new_home_of_the_same_name(place):
    with Dummy(place, {}) as older:
        place.rename(place.with_name("moved"))  # kept, so that its number isn't given out again
        with Dummy(place, {}) as newer:
            older.stop()
            assert newer.client.call("ping", Nothing(), PingResult).pid == 1


def test_work_cancelled_inside_the_agent_ends_with_interrupted(place):
    async def backup(request, emit):
        raise asyncio.CancelledError

    with Dummy(place, {"backup": backup}) as dummy, pytest.raises(InterruptedByUserError, match="cancelled"):
        list(dummy.client.work("backup", BackupRequest(paths=[])))


@pytest.mark.parametrize("name", ["done", "error"])
def test_a_handler_can_not_end_its_stream_by_an_event(place, name):
    with Dummy(place, {"backup": telling([Event(event=name)], RESULT)}) as dummy, pytest.raises(LocalError, match=name):
        list(dummy.client.work("backup", BackupRequest(paths=[])))


def test_an_answer_route_can_not_emit(place):
    with Dummy(place, {"peers": telling([Event(event="note")], [])}) as dummy, pytest.raises(LocalError, match="emit"):
        dummy.client.call("peers", Nothing(), list[PeerRow])


def test_names_that_are_not_utf8_travel_both_ways(place):
    row = EntryRow(path="/a\udcff\U0001f600", kind="file", mode=0o644, uid=0, gid=0, size=1, mtime="", target="")
    said = ErrorFile(path="/\udc80", message="gone")
    events = [Event(event="error-file", data=msgspec.to_builtins(said))]
    with Dummy(place, {"ls": given([row]), "backup": telling(events, RESULT)}) as dummy:
        assert dummy.client.call("ls", LsRequest(snapshot="latest", path="/\udcfe"), list[EntryRow]) == [row]
        seen = list(dummy.client.work("backup", BackupRequest(paths=["/\udcfd\n"])))
        assert seen[0] == events[0]
        assert dummy.requests[0][1].path == "/\udcfe"
        assert dummy.requests[1][1].paths == ["/\udcfd\n"]


def test_nobody_listening_is_a_typed_error(place):
    for _ in range(2):
        with pytest.raises(AgentNotRunning):
            Client(place).call("ping", Nothing(), PingResult)
        with pytest.raises(AgentNotRunning):
            list(Client(place).work("host", HostRequest()))
        if not place.exists():
            stale = socket.socket(socket.AF_UNIX)
            stale.bind(str(place))
            stale.close()


def test_an_agent_that_dies_in_mid_stream_is_a_local_error_with_a_hint(place):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen()

    def die():
        connection, _ = listener.accept()
        request = b""
        while not request.endswith(b"}"):
            request += connection.recv(65536)
        line = b'{"event":"note"}\n'
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(line), line))
        connection.close()

    thread = threading.Thread(target=die)
    thread.start()
    events = Client(place).work("backup", BackupRequest(paths=[]))
    assert next(events).event == "note"
    with pytest.raises(LocalError, match="ended during backup") as caught:
        next(events)
    assert caught.value.hint
    thread.join()
    listener.close()


def test_an_agent_that_does_not_answer_is_told_after_the_timeout(place):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen()
    with pytest.raises(LocalError, match="does not answer"):
        Client(place).call("ping", Nothing(), PingResult, timeout_s=0.05)
    listener.close()


def test_an_answer_of_another_shape_is_told_and_not_half_read(place):
    with Dummy(place, {"peers": given({"what": 1})}) as dummy, pytest.raises(LocalError, match="can't read"):
        dummy.client.call("peers", Nothing(), list[PeerRow])


def test_an_app_needs_a_handler_for_every_route_and_no_other():
    with pytest.raises(LocalError, match="ping"):
        build_app({name: given(None) for name in ROUTES if name != "ping"}, dict)
    with pytest.raises(LocalError, match="nonsense"):
        build_app({name: given(None) for name in [*ROUTES, "nonsense"]}, dict)


def test_every_request_struct_refuses_unknown_fields():
    for route in ROUTES.values():
        assert issubclass(route.request, Request)
        with pytest.raises(msgspec.ValidationError, match="unknown field"):
            msgspec.convert({**_minimal(route.request), "no such field": 1}, route.request)


def _minimal(kind):
    values = {str: "x", int: 1, bool: True, list[str]: []}
    return {field.name: values[field.type] for field in msgspec.structs.fields(kind) if field.required}

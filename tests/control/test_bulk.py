"""A bulk route: bytes and events in order, no faster than they are read, never taken for whole when they are not."""

import asyncio
import socket
import threading

import pytest

from backuppeer.control.api import Nothing
from backuppeer.control.events import Event
from backuppeer.control.frames import FrameKind, encode_frame
from backuppeer.control.inspection import DumpRequest, DumpResult
from backuppeer.control.saving import BackupRequest
from backuppeer.control.server import PIECES
from backuppeer.errors import IntegrityFault, LocalError, NotFoundError
from backuppeer.limits import CONTROL_PIECE_BYTES
from control.dummy import Dummy, given, telling

RESULT = DumpResult(snapshot="ab" * 32, path="/a", format="file", files=1, bytes=10, seconds=0.5, errors=0)
REQUEST = DumpRequest(snapshot="latest", path="/a")
NOTE = Event(event="note", data={"text": "between"})


@pytest.fixture
def place(tmp_path):
    return tmp_path / "agent.sock"


def read(told):
    return [bytes(part) if isinstance(part, memoryview) else part.event for part in told]


def test_bytes_and_events_come_in_their_order_and_the_result_last(place):
    longest = b"\n" * CONTROL_PIECE_BYTES
    with Dummy(place, {"dump": telling([b"one", NOTE, longest, b""], RESULT)}) as dummy:
        told = list(dummy.client.bulk("dump", REQUEST))
    assert dummy.requests == [("dump", REQUEST)]
    assert told[-1].data["files"] == 1
    with Dummy(place, {"dump": telling([b"one", NOTE, longest, b""], RESULT)}) as dummy:
        assert read(dummy.client.bulk("dump", REQUEST)) == [b"one", "note", longest, b"", "done"]


def test_the_buffer_is_used_again(place):
    with Dummy(place, {"dump": telling([b"one", b"two"], RESULT)}) as dummy:
        views = [part for part in dummy.client.bulk("dump", REQUEST) if isinstance(part, memoryview)]
    assert [bytes(view) for view in views] == [b"two", b"two"]


def test_an_error_after_bytes_is_raised_and_not_the_end(place):
    with Dummy(place, {"dump": telling([b"half"], IntegrityFault("rotten", hint="mend it"))}) as dummy:
        told = dummy.client.bulk("dump", REQUEST)
        assert bytes(next(told)) == b"half"
        with pytest.raises(IntegrityFault, match="rotten") as caught:
            next(told)
    assert caught.value.hint == "mend it"


def test_an_error_before_bytes_is_raised(place):
    with Dummy(place, {"dump": given(NotFoundError("no such snapshot"))}) as dummy, pytest.raises(NotFoundError):
        list(dummy.client.bulk("dump", REQUEST))


def test_who_does_not_read_makes_the_agent_wait(place):
    """Back-pressure: what the handler gets rid of is bounded by the queue and the socket's buffers."""
    sent, is_full = [], threading.Event()

    async def dump(request, emit):
        for number in range(200):
            try:
                async with asyncio.timeout(None if is_full.is_set() else 2):
                    await emit(bytes([number]) * CONTROL_PIECE_BYTES)
            except TimeoutError:
                is_full.set()
                await emit(bytes([number]) * CONTROL_PIECE_BYTES)
            sent.append(number)
        return RESULT

    with Dummy(place, {"dump": dump}) as dummy:
        told = dummy.client.bulk("dump", REQUEST)
        assert bytes(next(told)[:1]) == b"\0"
        assert is_full.wait(30)
        assert len(sent) <= PIECES + 4
        got = [bytes(part[:1]) for part in told if isinstance(part, memoryview)]
    assert got == [bytes([number]) for number in range(1, 200)]


def test_closing_the_stream_cancels_the_handler_though_it_waits_for_the_reader(place):
    cancelled = threading.Event()

    async def dump(request, emit):
        try:
            while True:
                await emit(bytes(CONTROL_PIECE_BYTES))
        finally:
            cancelled.set()

    with Dummy(place, {"dump": dump}) as dummy:
        told = dummy.client.bulk("dump", REQUEST)
        next(told)
        told.close()
        assert cancelled.wait(10)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        encode_frame(FrameKind.BYTES, b"all of it"),
        encode_frame(FrameKind.BYTES, b"all of it")[:-3],
        encode_frame(FrameKind.BYTES, b"all of it")[:3],
        encode_frame(FrameKind.EVENT, b'{"event":"note"}'),
        b"\7\0\0\0\1x",
        b"\1\x7f\xff\xff\xff",
    ],
)
def test_a_stream_without_its_last_event_is_never_taken_for_whole(place, stream):
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    answer += (b"%x\r\n%s\r\n" % (len(stream), stream) if stream else b"") + b"0\r\n\r\n"
    with Scripted(place, answer) as client, pytest.raises(LocalError) as caught:
        list(client.bulk("dump", REQUEST))
    assert caught.value.hint


class Scripted:
    """Answers one request with the bytes it was given."""

    def __init__(self, path, answer):
        from backuppeer.control.client import Client  # noqa: PLC0415 - beside its only use

        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._answer, self._client = answer, Client(path)
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self._client

    def __exit__(self, *_):
        self._thread.join(10)
        self._listener.close()

    def _serve(self):
        connection, _ = self._listener.accept()
        with connection:
            request = b""
            while not request.endswith(b"}"):
                request += connection.recv(65536)
            connection.sendall(self._answer)


def test_only_a_bulk_route_may_emit_bytes(place):
    with Dummy(place, {"backup": telling([b"x"], None), "peers": telling([b"x"], [])}) as dummy:
        with pytest.raises(LocalError, match="bytes"):
            list(dummy.client.work("backup", BackupRequest(paths=[])))
        with pytest.raises(LocalError, match="bytes"):
            dummy.client.call("peers", Nothing(), list)


def test_a_piece_longer_than_it_may_be_ends_the_stream_with_an_error(place):
    handlers = {"dump": telling([bytes(CONTROL_PIECE_BYTES + 1)], RESULT)}
    with Dummy(place, handlers) as dummy, pytest.raises(LocalError, match="a piece of 1048577 bytes"):
        list(dummy.client.bulk("dump", REQUEST))


@pytest.mark.parametrize("route", ["dump", "backup"])
def test_who_said_how_long_an_answer_may_take_waits_no_longer(place, route):
    async def hang(request, emit):
        await asyncio.Event().wait()

    with Dummy(place, {route: hang}) as dummy:
        ask = dummy.client.bulk if route == "dump" else dummy.client.work
        request = REQUEST if route == "dump" else BackupRequest()
        with pytest.raises(LocalError, match="does not answer"):
            list(ask(route, request, timeout_s=0.05))

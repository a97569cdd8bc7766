"""A feed route: bytes in, only when they are wanted, and nothing is made of a stream that is not whole."""

import asyncio
import socket
import threading

import pytest

from backuppeer.control.codec import encode_json
from backuppeer.control.events import Event
from backuppeer.control.frames import FrameKind, encode_frame
from backuppeer.control.saving import BackupResult, StreamRequest
from backuppeer.errors import InterruptedByUserError, LocalError, PeerUnreachable, UserError
from backuppeer.limits import CONTROL_BODY_BYTES, CONTROL_PIECE_BYTES, INFLOW_PIECES
from control.dummy import Dummy, given

ROUTE = "backup/stream"
REQUEST = StreamRequest(name="a")
RESULT = BackupResult(
    snapshot="ab" * 32, files=1, bytes=1, new_bytes=1, sent_bytes=1, seconds=0.5, errors=0, peers=[], left_out=[]
)
HEAD = encode_frame(FrameKind.EVENT, encode_json(REQUEST))
DONE = encode_frame(FrameKind.EVENT, b'{"event":"done"}')


@pytest.fixture
def place(tmp_path):
    return tmp_path / "agent.sock"


class Reader:
    """A handler that reads the stream to its end in a thread, `size` bytes at a time; or until `enough` bytes."""

    def __init__(self, size=CONTROL_PIECE_BYTES, enough=None):
        self.size, self.enough = size, enough
        self.got, self.failure = bytearray(), None
        self.ended = threading.Event()
        self.may_read = threading.Event()
        self.may_read.set()

    async def __call__(self, request, emit, inflow):
        work = asyncio.create_task(asyncio.to_thread(self._read, inflow))
        try:
            await asyncio.shield(work)
        finally:
            # As the real one: no work is left behind when the handler ends.
            await asyncio.gather(work, return_exceptions=True)
        return RESULT

    def _read(self, inflow):
        view = memoryview(bytearray(self.size))
        try:
            while self.enough is None or len(self.got) < self.enough:
                count = inflow.read_into(view)
                self.got += view[:count]
                if count < self.size:
                    break
                self.may_read.wait(30)
        except Exception as exc:
            self.failure = exc
            raise
        finally:
            self.ended.set()


def give(*parts):
    """A source that gives these parts one by one; an exception among them is raised."""
    rest = list(parts)

    def take(most):
        part = rest.pop(0) if rest else b""
        if isinstance(part, Exception):
            raise part
        assert len(part) <= most
        return part

    take.rest = rest
    return take


@pytest.mark.parametrize("size", [1000, CONTROL_PIECE_BYTES, 3 * CONTROL_PIECE_BYTES + 7])
def test_all_bytes_arrive_in_their_order_whatever_they_are_cut_into(place, size):
    parts = [bytes([number]) * (CONTROL_PIECE_BYTES - number * 7) for number in range(9)]
    reader = Reader(size)
    with Dummy(place, {ROUTE: reader}) as dummy:
        told = list(dummy.client.feed(ROUTE, REQUEST, give(*parts)))
    assert [event.event for event in told] == ["done"]
    assert dummy.requests == [(ROUTE, REQUEST)]
    assert reader.got == b"".join(parts)


def test_nothing_is_taken_before_somebody_reads(place):
    source = give(b"x")
    with Dummy(place, {ROUTE: given_feed(PeerUnreachable("no host is there"))}) as dummy:
        with pytest.raises(PeerUnreachable):
            list(dummy.client.feed(ROUTE, REQUEST, source))
        assert source.rest == [b"x"]


def given_feed(answer):
    async def handler(request, emit, inflow):
        return await given(answer)(request, emit)

    return handler


def test_a_reader_that_waits_holds_a_few_pieces_and_no_more(place):
    taken = []
    reader = Reader()
    reader.may_read.clear()
    is_quiet = threading.Event()

    def take(most):
        taken.append(most)
        if len(taken) == INFLOW_PIECES + 1:
            is_quiet.set()
        return bytes(most) if len(taken) <= 40 else b""

    with Dummy(place, {ROUTE: reader}) as dummy:
        told = []
        work = threading.Thread(target=lambda: told.extend(dummy.client.feed(ROUTE, REQUEST, take)))
        work.start()
        assert is_quiet.wait(10)
        # One piece was read, so one more than the pieces ahead was asked for; nothing else until it reads on.
        work.join(0.3)
        assert len(taken) == INFLOW_PIECES + 1
        reader.may_read.set()
        work.join(30)
    assert [event.event for event in told] == ["done"]
    assert len(reader.got) == 40 * CONTROL_PIECE_BYTES


def test_a_source_that_fails_fails_the_work_with_its_words(place):
    reader = Reader()
    with Dummy(place, {ROUTE: reader}) as dummy, pytest.raises(LocalError, match="pg_dump ended") as caught:
        list(dummy.client.feed(ROUTE, REQUEST, give(b"half", LocalError("pg_dump ended", hint="look"))))
    assert caught.value.hint == "look"
    assert isinstance(reader.failure, LocalError)


def test_an_agent_that_stops_ends_the_reader_and_tells_the_command(place, caplog):
    reader = Reader()
    begun, stop = threading.Event(), threading.Event()

    def take(most):
        begun.set()
        stop.wait(30)
        return b""

    with Dummy(place, {ROUTE: reader}) as dummy:
        failures = []

        def follow():
            try:
                list(dummy.client.feed(ROUTE, REQUEST, take))
            except InterruptedByUserError as exc:
                failures.append(exc)

        work = threading.Thread(target=follow)
        work.start()
        assert begun.wait(10)
        assert dummy.server is not None
        dummy.call_soon(dummy.server.stop)
        assert reader.ended.wait(10)
        work.join(10)
        stop.set()
    assert [error.message for error in failures] == ["the agent was stopped"]
    assert "Exception in ASGI application" not in caplog.text


def exchange(place, body, *, end=True):
    """Send a body of this many frames as HTTP chunks, asked for or not; return the answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(place))
        sock.sendall(b"POST /v1/backup/stream HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        sock.sendall(b"%x\r\n%b\r\n" % (len(body), body) + (b"0\r\n\r\n" if end else b""))
        if not end:
            sock.shutdown(socket.SHUT_WR)
        answer = b""
        while b'"event":"done"' not in answer and b'"code"' not in answer and (part := sock.recv(65536)):
            answer += part
        return answer


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", b"the request broke off"),
        (HEAD[:-3], b"the request broke off"),
        (encode_frame(FrameKind.BYTES, b"x"), b"a feed begins with its request"),
        (encode_frame(FrameKind.EVENT, b" " * (CONTROL_BODY_BYTES + 1)), b"a feed begins with its request"),
        (encode_frame(FrameKind.EVENT, b'{"wrong":1}'), b"bad request"),
        (b"\7\0\0\0\1x", b"bad feed"),
        (HEAD, b"the stream broke off"),
        (HEAD + encode_frame(FrameKind.BYTES, b"x") + DONE, b"nobody asked for"),
        (HEAD + b"\1\x7f\xff\xff\xff", b"bad feed"),
        (HEAD + encode_frame(FrameKind.EVENT, b"[]"), b"bad feed"),
        (HEAD + encode_frame(FrameKind.EVENT, encode_json(Event(event="error"))), b"bad feed"),
        (HEAD + DONE, b'"event":"done"'),
        (HEAD + DONE + DONE, b'"event":"done"'),
    ],
)
def test_only_a_feed_that_is_whole_and_as_agreed_is_taken(place, body, says):
    with Dummy(place, {ROUTE: Reader()}):
        assert says in exchange(place, body)


def test_a_connection_that_breaks_off_ends_the_reader(place):
    reader = Reader()
    with Dummy(place, {ROUTE: reader}):
        exchange(place, HEAD, end=False)
        assert reader.ended.wait(10)
    assert isinstance(reader.failure, UserError)


def test_an_agent_that_goes_away_is_told_as_that(place):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen()

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")

    work = threading.Thread(target=serve)
    work.start()
    from backuppeer.control.client import Client  # noqa: PLC0415 - beside its only use

    with pytest.raises(LocalError, match="the agent ended during backup"):
        list(Client(place).feed(ROUTE, REQUEST, give(b"x")))
    work.join(10)
    listener.close()

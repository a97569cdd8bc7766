"""A proven session: the control stream, the request streams, the heartbeat (docs/protocol.md, "Session").

Knows: which message may follow which (by wire.table), when a peer counts as dead. Must not know: streams, tasks, disks.
Everything here is a machine without IO or a pure function of time; the agent moves the bytes.
"""

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, Literal

from backuppeer.errors import LocalError, ProtocolViolation
from backuppeer.ids import PeerId
from backuppeer.limits import DEAD_AFTER_S, HEARTBEAT_S, IDLE_CLOSE_S, LEAF_BYTES, UNKNOWN_MESSAGES
from backuppeer.wire.codec import Frame, UnknownMessage, decode, encode
from backuppeer.wire.codes import CloseCode
from backuppeer.wire.fields import Message
from backuppeer.wire.handshake import STREAM_OPENER, Handshake, Offer, ProvenPeer, TransportEnds
from backuppeer.wire.messages import GetRange, Range, Unsupported
from backuppeer.wire.table import Speaker, State, state_after_receiving, state_after_sending

__all__ = [
    "STREAM_OPENER",
    "ControlStream",
    "Handshake",
    "HeartbeatAction",
    "Offer",
    "ProvenPeer",
    "Pulse",
    "RequestStream",
    "Speaker",
    "State",
    "TransportEnds",
    "choose_close",
    "is_idle",
    "is_kept_when_dialled_by",
    "measure_range",
    "plan_heartbeat",
]


class _UnknownCounter:
    """Counts unknown types of one stream: a few are a newer version, many are an attack on our time."""

    def __init__(self) -> None:
        self._left = UNKNOWN_MESSAGES

    def count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ProtocolViolation(f"more than {UNKNOWN_MESSAGES} messages of unknown type on one stream")


class ControlStream:
    """The control stream after the handshake: each side says Hello first, then talks freely until Goodbye."""

    def __init__(self) -> None:
        self._inbound = State.GREETING
        self._outbound = State.GREETING
        self._unknown = _UnknownCounter()

    @property
    def has_greeted(self) -> bool:
        """Return whether the peer has said Hello."""
        return self._inbound is State.TALKING

    @property
    def is_leaving(self) -> bool:
        """Return whether either side has said Goodbye."""
        return State.LEAVING in {self._inbound, self._outbound}

    def send(self, message: Message) -> bytes:
        """Return the bytes of a message to the peer.

        Raises:
            LocalError: it may not be said now.

        """
        after = state_after_sending(Speaker.PEER, self._outbound, type(message))
        data = encode(message)
        self._outbound = after
        return data

    def receive(self, frame: Frame) -> Message | UnknownMessage:
        """Return the peer's message; an UnknownMessage is to be answered with `send(Unsupported(type=…))`.

        Raises:
            ProtocolViolation: it is malformed or may not be said now.

        """
        message = decode(frame)
        if isinstance(message, UnknownMessage):
            if self._inbound is not State.TALKING:
                raise ProtocolViolation(f"unknown message type {message.number} in state {self._inbound.name}")
            self._unknown.count()
            return message
        self._inbound = state_after_receiving(Speaker.PEER, self._inbound, type(message))
        return message


class RequestStream:
    """One request, as its opener or its server sees it: a question, an answer, raw bytes where the table has them."""

    def __init__(self, role: Literal[Speaker.OPENER, Speaker.SERVER]) -> None:
        self._role = role
        self._state = State.ASKING

    @property
    def state(self) -> State:
        """Return where the request stands; PUT_SENDING means raw bytes flow, ENDED that no message follows."""
        return self._state

    def send(self, message: Message) -> bytes:
        """Return the bytes of our message.

        Raises:
            LocalError: it may not be said now.

        """
        after = state_after_sending(self._role, self._state, type(message))
        data = encode(message)
        self._state = after
        return data

    def receive(self, frame: Frame) -> Message:
        """Return the peer's message. A server that doesn't know the question gets Unsupported back: send it, and end.

        Raises:
            ProtocolViolation: it is malformed, may not be said now, or is an answer of unknown type.

        """
        message = decode(frame)
        if isinstance(message, UnknownMessage):
            if self._role is Speaker.SERVER and self._state is State.ASKING:
                return Unsupported(type=message.number)
            raise ProtocolViolation(f"unknown message type {message.number} in state {self._state.name}")
        other = Speaker.SERVER if self._role is Speaker.OPENER else Speaker.OPENER
        self._state = state_after_receiving(other, self._state, type(message))
        return message


def measure_range(request: GetRange, answer: Range) -> int:
    """Return how many raw bytes follow `answer`: whole leaves, but for the end of the pack.

    Raises:
        ProtocolViolation: the host announces another number, or a pack that ends before the range.

    """
    first = request.first_leaf * LEAF_BYTES
    size = min(answer.pack_bytes, first + request.leaves * LEAF_BYTES) - first
    if size <= 0 or size != answer.size:
        raise ProtocolViolation(f"a range of {answer.size} bytes was sent where {max(size, 0)} were asked for")
    return size


def choose_close(error: BaseException, *, is_proven: bool) -> CloseCode:
    """Return the code to close a connection with after `error`; a peer that is not proven always gets the same one."""
    if not is_proven:
        return CloseCode.REJECTED
    return CloseCode.VIOLATION if isinstance(error, ProtocolViolation) else CloseCode.SHUTDOWN


def is_kept_when_dialled_by(dialler: PeerId, other: PeerId) -> bool:
    """Return whether, of two connections between two peers that dialled at once, the one by `dialler` stays.

    Raises:
        LocalError: both are the same peer.

    """
    if dialler == other:
        raise LocalError("a session with ourselves")
    return dialler < other


# --- heartbeat

_ASLEEP_S: Final = 2 * HEARTBEAT_S
"""A gap between two decisions longer than this: our own machine slept or stalled; the peer is not to blame."""


class HeartbeatAction(Enum):
    """What to do now."""

    WAIT = auto()
    PING = auto()
    DEAD = auto()


@dataclass(frozen=True, slots=True)
class Pulse:
    """Monotonic seconds: when we last heard anything of the peer, last pinged, last decided."""

    heard_s: float
    pinged_s: float
    checked_s: float

    def hear(self, now_s: float) -> "Pulse":
        """Return the pulse after any bytes of the peer arrived at `now_s`."""
        return replace(self, heard_s=max(self.heard_s, now_s))


def plan_heartbeat(pulse: Pulse, now_s: float) -> tuple[HeartbeatAction, Pulse, float]:
    """Return what to do at `now_s`, the pulse after it, and in how many seconds to ask again.

    Pings every HEARTBEAT_S, also when the peer talks, so that both sides hear each other; DEAD after DEAD_AFTER_S of
    silence in which we ourselves were awake.
    """
    if now_s - pulse.checked_s > _ASLEEP_S:
        return HeartbeatAction.PING, Pulse(now_s, now_s, now_s), HEARTBEAT_S
    # Compared as the wait is reckoned below, or rounding makes a wait of nothing, over and over.
    if now_s >= pulse.heard_s + DEAD_AFTER_S:
        return HeartbeatAction.DEAD, replace(pulse, checked_s=now_s), 0.0
    if now_s >= pulse.pinged_s + HEARTBEAT_S:
        after = replace(pulse, pinged_s=now_s, checked_s=now_s)
        return HeartbeatAction.PING, after, min(HEARTBEAT_S, pulse.heard_s + DEAD_AFTER_S - now_s)
    after = replace(pulse, checked_s=now_s)
    wait = min(pulse.pinged_s + HEARTBEAT_S, pulse.heard_s + DEAD_AFTER_S) - now_s
    # Adding and subtracting times of a million seconds rounds: never longer than one heartbeat.
    return HeartbeatAction.WAIT, after, min(wait, HEARTBEAT_S)


def is_idle(*, used_s: float, now_s: float) -> bool:
    """Return whether a session whose last request ended at `used_s` has been without use for too long."""
    return now_s - used_s >= IDLE_CLOSE_S

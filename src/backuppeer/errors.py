"""The one tree of errors, by whose fault it is (STYLE, "Errors"; exit codes are DESIGN 10).

Knows: messages, hints, exit codes. Must not know: any room. `LocalError` is our bug, `PeerFault` becomes trust
evidence, `Unavailable` is weather and may be retried, `UserError` is told to the user. A message is lower-case
and names the thing; advice stands in the hint.
"""

import errno
from enum import Enum, IntEnum
from typing import Final, NamedTuple


class ExitCode(IntEnum):
    """Exit codes of the command line: a contract (DESIGN 10)."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    INCOMPLETE = 3
    PENDING = 4
    NOT_FOUND = 10
    UNREACHABLE = 11
    AUTHENTICATION = 12
    REFUSED = 13
    NO_SIGNALING = 14
    INTEGRITY = 15
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


class Meaning(NamedTuple):
    """What an exit code says, and what helps where an error has no better hint of its own."""

    cause: str
    remedy: str


MEANINGS: Final = {
    ExitCode.DONE: Meaning("done", ""),
    ExitCode.UNEXPECTED: Meaning(
        "unexpected: a fault of this program or of this machine; or a command of yours (hook `before`, "
        "`--stdin-from-command`) failed and nothing was saved",
        "the folder `logs` of the home has the agent's side of it, without secrets, for a report",
    ),
    ExitCode.USAGE: Meaning(
        "usage, or a question that nobody was there to answer", "the same verb with `--help` shows what it takes"
    ),
    ExitCode.INCOMPLETE: Meaning(
        "done, but without some named files or peers (`recover`: something is missing, and a host that may have it "
        "could not be heard; with `--take-over` or `--new-identity`: a host was not told yet)",
        "what was left out stands above, by name; the same command again takes up what is left",
    ),
    ExitCode.PENDING: Meaning(
        "a person has to answer",
        "`backup-peer requests` shows what waits; the same command goes on once it is answered",
    ),
    ExitCode.NOT_FOUND: Meaning(
        "no such thing; `backup`: nothing of what was named could be read, no snapshot was made",
        "`backup-peer peers` and `backup-peer snapshots` list what there is",
    ),
    ExitCode.UNREACHABLE: Meaning(
        "a peer can't be reached, went away, or answered nonsense",
        "nothing is lost: the same command goes on where it was; `backup-peer sessions` and `backup-peer status` show "
        "who is there",
    ),
    ExitCode.AUTHENTICATION: Meaning(
        "a proof of identity does not hold: somebody answers in a peer's place, the words are another identity's, or "
        "this home is shut out",
        "send nothing more there until you compared the safety words anew: `backup-peer peers verify PEER`",
    ),
    ExitCode.REFUSED: Meaning(
        "refused: quota, policy, a full disk (the host's or your own), another machine took over, or the peer said no",
        "`backup-peer status` shows what is free and what was agreed, `backup-peer peers show PEER` the terms",
    ),
    ExitCode.NO_SIGNALING: Meaning(
        "no signaling server can be reached, and the step needs one",
        "`backup-peer config servers test` says which link is broken; peers that know each other need no server",
    ),
    ExitCode.INTEGRITY: Meaning(
        "wrong, missing or rolled-back data, also when the work itself was done: the lines with `alarm:` name the "
        "host; what is whole was restored, or (`recover`) can be; `audit --now`: a host was caught; "
        "`audit verify-proof`: nothing is proven",
        "`backup-peer check` says what is missing where, `backup-peer repair` mends what can be mended",
    ),
    ExitCode.INTERRUPTED: Meaning("interrupted", ""),
    ExitCode.OUTPUT_CLOSED: Meaning("the reader of the output went away, as in `… | head -1`", ""),
}


class BackupPeerError(Exception):
    """Base of every error we raise on purpose."""

    exit_code: ExitCode = ExitCode.UNEXPECTED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def advice(self) -> str:
        """What to do next: the hint, else what helps with its exit code."""
        return self.hint or MEANINGS[self.exit_code].remedy


class LocalError(BackupPeerError):
    """Something on this machine is wrong: our bug, or the local disk; not the peer, not the user's words."""


_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_out_of_room(exc: BaseException) -> bool:
    """Say whether a system call failed because a disk is full, or a quota of the system's."""
    return isinstance(exc, OSError) and exc.errno in _FULL


_GO_ON: Final = "free some space on it and run the same again: nothing is lost, and what was done so far is kept"


def full_disk(what: str, *, more: str = "", hint: str = _GO_ON) -> LocalError:
    """Return the error for a disk of this machine on which `what` finds no room; code 13, as of a full host.

    `more`: what else is to be said.
    """
    told = f"a disk of this machine is full: {what} can't be written"
    error = LocalError(f"{told}; {more}" if more else told, hint=hint)
    error.exit_code = ExitCode.REFUSED
    return error


def is_full_disk(error: BackupPeerError) -> bool:
    """Say whether an error is that of `full_disk`: nobody else's matter, and the same for all that would be tried."""
    return isinstance(error, LocalError) and error.exit_code is ExitCode.REFUSED


class DamagedStateError(LocalError):
    """A local file or database of ours can't be read as what it should be."""

    exit_code = ExitCode.INTEGRITY


class NewerFormatError(DamagedStateError):
    """A file of ours was written by a newer version: never touched, never moved aside."""


class UserError(BackupPeerError):
    """The user asked for something that can't be; tell and exit."""

    exit_code = ExitCode.USAGE


class NotFoundError(UserError):
    """The thing named does not exist (snapshot, peer, home, path)."""

    exit_code = ExitCode.NOT_FOUND


class PendingError(UserError):
    """A person on the other side has not answered yet; the request is kept."""

    exit_code = ExitCode.PENDING


class InterruptedByUserError(UserError):
    """Ctrl-C, or `jobs cancel`."""

    exit_code = ExitCode.INTERRUPTED


class IncompleteError(BackupPeerError):
    """Done, but without some named files or peers."""

    exit_code = ExitCode.INCOMPLETE


class PeerFault(BackupPeerError):  # noqa: N818 - the design's own word: a fault of the peer, evidence for trust
    """The peer lied or broke the protocol; feeds trust evidence."""

    exit_code = ExitCode.INTEGRITY


class ProtocolViolation(PeerFault):
    """A malformed, oversized or unexpected message."""

    exit_code = ExitCode.UNREACHABLE


class AuthenticationFault(PeerFault):
    """A proof of identity or a signature that does not hold."""

    exit_code = ExitCode.AUTHENTICATION


class IntegrityFault(PeerFault):
    """Bytes that are not what their id, tag or proof says: wrong, missing or rolled back.

    `lost_bytes`: of the packs that a host was found to lack, where it is about such.
    """

    exit_code = ExitCode.INTEGRITY

    def __init__(self, message: str, *, hint: str = "", lost_bytes: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.lost_bytes = lost_bytes


class Unavailable(BackupPeerError):  # noqa: N818 - the design's own word: weather
    """Weather: retry later."""

    exit_code = ExitCode.UNREACHABLE


class PeerUnreachable(Unavailable):
    """The peer can't be reached, or vanished in mid-work."""


class IncompatibleVersion(PeerUnreachable):
    """The peer is there and proven, but no version of the protocol is common: one of the two is to be upgraded."""


class NoSignaling(Unavailable):
    """No signaling server could be reached and the step needs one."""

    exit_code = ExitCode.NO_SIGNALING


class StoreUnavailable(Unavailable):
    """A host's store is unplugged, foreign, or can't be written; never taken for "empty"."""

    exit_code = ExitCode.REFUSED
    is_outlasted = False
    """It said so, asked for what it keeps, until nobody waited any more."""


class StoreBusy(StoreUnavailable):
    """A host has too much to do at once; asked again in a moment it will answer."""

    exit_code = ExitCode.UNREACHABLE


class Refusal(Enum):
    """Who said no, and whether they may."""

    OWN = "own"
    """This home did, by its own rules."""
    ALLOWED = "allowed"
    """A peer did, as what was agreed on lets it: no fault."""
    FAULT = "fault"
    """A peer did not give or show what it keeps for us: evidence for trust."""


class RefusedError(BackupPeerError):
    """The other side (or our own policy) said no: quota, terms, block list. `refusal`: which, and whether by right."""

    exit_code = ExitCode.REFUSED

    def __init__(self, message: str, *, hint: str = "", refusal: Refusal = Refusal.OWN) -> None:
        super().__init__(message, hint=hint)
        self.refusal = refusal


class ExposedError(RefusedError):
    """Our own policy: as much as may lie with a stranger does (ADR 64)."""


class DeclinedError(RefusedError):
    """Our own person said no to a question of ours: nothing went wrong."""

    @property
    def advice(self) -> str:
        """Nobody is advised who said no, unless there is something to add."""
        return self.hint


class UntrustedError(RefusedError):
    """A host gives space to those alone whom it trusts as hosts; no smaller wish is any better."""


class RejectedError(RefusedError):
    """A person said no to just this wish, and may still change their mind."""

"""`audit verify-proof`: judge a file in which an owner accuses a host, on any machine, with no home and no network."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from backuppeer.cli import auditing, rebut
from backuppeer.cli.context import context_of
from backuppeer.cli.further import ITSELF, VerbGroup, VerbItself
from backuppeer.cli.render import escape_name, format_moment
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.clock import format_time
from backuppeer.errors import IntegrityFault, ProtocolViolation, UserError
from backuppeer.ids import PeerId, format_peer_id, shorten_peer_id
from backuppeer.limits import PROOF_BYTES

if TYPE_CHECKING:
    from backuppeer.proof.charges import AnyCharge
    from backuppeer.proof.misbehaviour import Verdict

_HELP: Final = (
    "Judge whether a file proves that a host broke its word. Exit code 0: it does; 15: it proves nothing; 2: no such "
    "file, or none of these. Needs nothing but the file: no home, no agent, no network; and believes nobody."
)
_CRIMES: Final = {
    "wrong-answer": "a lie about a pack",
    "lost-pack": "a lost pack",
    "older-head": "going back to an older state",
    "two-heads": "keeping two histories",
}
_LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999; a signed time may be any number."""
_NO_KEYS: Final = (
    "an id is a key, not a person: whose they are you must know from elsewhere (`backup-peer id` shows one's own)"
)


def add_to(app: typer.Typer) -> None:
    """Add the verb and what may follow it."""
    group = typer.Typer(cls=VerbGroup, rich_markup_mode=None)
    group.command(name=ITSELF, cls=VerbItself, help=auditing.HELP, epilog=auditing.MORE)(auditing.audit)
    group.command(name="verify-proof", help=_HELP)(verify_proof)
    group.command(name="rebut", help=rebut.HELP)(rebut.rebut)
    app.add_typer(group, name="audit", help="Have hosts prove what they keep; judge proofs.")


def verify_proof(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The proof, as the owner handed it out.")],
    *,
    rebuttal: Annotated[
        str, typer.Option(metavar="FILE", help="What the host answers: the owner's own requests to delete, for one.")
    ] = "",
) -> int:
    """Judge a file and say who is accused by whom of what, since when, and whether it is proven."""
    from backuppeer.proof.charges import unpack_rebuttal  # noqa: PLC0415 - crypto libraries
    from backuppeer.proof.misbehaviour import judge  # noqa: PLC0415

    screen = context_of(ctx).screen
    charge, answer = read_charge(file), None
    if rebuttal:
        with _blaming_nobody():
            answer = unpack_rebuttal(_read(rebuttal))
    verdict = judge(charge, answer)
    if screen.json:
        screen.value(_describe(verdict))
    for text in verdict.ignored:
        screen.note(f"of the rebuttal, {text}")
    if not verdict.is_proven:
        raise _explain_nothing(verdict)
    _show(screen, verdict)
    return 0


def read_charge(name: str) -> "AnyCharge":
    """Return the charge that a file makes; nothing in it is verified.

    Raises:
        UserError: there is no such file, or it is no proof.

    """
    from backuppeer.proof.charges import unpack_charge  # noqa: PLC0415 - crypto libraries

    with _blaming_nobody():
        return unpack_charge(_read(name))


@contextmanager
def _blaming_nobody() -> Iterator[None]:
    try:
        yield
    except ProtocolViolation as exc:
        # Nobody is to blame for a file that somebody typed the wrong name of.
        raise UserError(exc.message, hint=exc.hint or "was the file copied whole, and is it the right one?") from exc


def _read(name: str) -> bytes:
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - a name as the person gave it, not a path to normalise
            return file.read(PROOF_BYTES + 1)
    except OSError as exc:
        called, reason = escape_name(name) or "a file without a name", (exc.strerror or str(exc)).lower()
        raise UserError(f"can't read {called}: {reason}", hint="name a file that holds a proof") from exc


def _describe(verdict: "Verdict") -> dict[str, object]:
    return {
        "proven": verdict.is_proven,
        "reason": verdict.reason,
        "crime": verdict.crime or "",
        "host": _name(verdict.host),
        "owner": _name(verdict.owner),
        "stored": (verdict.stored or b"").hex(),
        "promised": _moment(verdict.promised_ms),
        "broken": _moment(verdict.broken_ms),
        "ignored": list(verdict.ignored),
    }


def _show(screen: Screen, verdict: "Verdict") -> None:
    lines = {
        "accused host": _name(verdict.host),
        "by the owner": _name(verdict.owner),
        "of": f"{_CRIMES[verdict.crime or '']}: {verdict.reason}",
        "pack": (verdict.stored or b"").hex(),
        "promised": _say_when(verdict.promised_ms),
        "broken": _say_when(verdict.broken_ms),
    }
    screen.line(f"{screen.paint('✓', GREEN)} proven: the host has broken its word", hang=2)
    for label, text in lines.items():
        if text:
            screen.line(f"  {label:<14}{text}", hang=16)
    if not screen.json:
        screen.hint(_NO_KEYS)


def _explain_nothing(verdict: "Verdict") -> IntegrityFault:
    against = f" against {shorten_peer_id(verdict.host)}" if verdict.host else ""
    return IntegrityFault(
        f"this proves nothing{against}: {verdict.reason}",
        hint="think no worse of anybody for it: such a file can be made, or damaged, by whoever had it",
    )


def _name(peer: PeerId | None) -> str:
    return format_peer_id(peer) if peer else ""


def _moment(time_ms: int) -> str:
    return format_time(time_ms) if 0 < time_ms <= _LAST_MS else ""


def _say_when(time_ms: int) -> str:
    text = format_moment(_moment(time_ms))
    return f"{text} by the host's clock" if text else ""

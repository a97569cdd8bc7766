"""`audit rebut`: the host's answer to a proof, made from what its owner signed; judged here as others will judge it."""

import os
from typing import TYPE_CHECKING, Annotated, Final

import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import escape_name
from backuppeer.cli.screen import GREEN
from backuppeer.control.rebutting import KeptRemoval, RebutRequest
from backuppeer.errors import ExitCode, IntegrityFault, UserError
from backuppeer.limits import PROOF_AGREEMENTS

if TYPE_CHECKING:
    from backuppeer.proof.charges import AnyCharge, Rebuttal

HELP: Final = (
    "Answer a proof against you with what its owner signed.\n\nA host keeps every request to delete or withdraw packs. "
    "If one of them, or the end of the agreement by term or notice, excuses what the file charges you with, this "
    "writes an answer that anybody can check: `audit verify-proof FILE --rebuttal ANSWER`. Exit code 15: nothing you "
    "keep excuses it."
)
_SUFFIX: Final = ".rebuttal"


def rebut(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The proof, as you got it.")],
    *,
    to: Annotated[
        str, typer.Option("--to", metavar="FILE", help=f"Where the answer goes; FILE{_SUFFIX} if not said.")
    ] = "",
) -> int:
    """Find what excuses this host, and write it to a file."""
    from backuppeer.cli.audit import read_charge  # noqa: PLC0415 - crypto libraries
    from backuppeer.proof.charges import pack_rebuttal  # noqa: PLC0415
    from backuppeer.proof.misbehaviour import judge  # noqa: PLC0415

    context = context_of(ctx)
    charge, place = read_charge(file), to or file + _SUFFIX
    alone = judge(charge)
    if not alone.is_proven:
        return _tell(context, alone.reason, "")
    answer = _find_excuse(context, charge)
    if answer is None:
        raise IntegrityFault(
            f"nothing that is kept here excuses this: {alone.reason}",
            hint="`backup-peer status` says what the disk of the store lost; better tell the owner yourself",
        )
    _write(place, pack_rebuttal(answer))
    return _tell(context, judge(charge, answer).reason, place)


def _find_excuse(context: Context, charge: "AnyCharge") -> "Rebuttal | None":
    """Return the first answer that a judge takes for an excuse: one request, or the newest revisions."""
    from backuppeer.ids import StoredId  # noqa: PLC0415
    from backuppeer.proof.case import open_parties  # noqa: PLC0415
    from backuppeer.proof.charges import Rebuttal, ShownRemoval  # noqa: PLC0415
    from backuppeer.proof.misbehaviour import judge  # noqa: PLC0415
    from backuppeer.proof.revisions import add_steps  # noqa: PLC0415

    agreement, stored = open_parties(charge.agreements).agreement.hex(), (judge(charge).stored or b"").hex()
    number, client = 0, context.client()
    while True:
        found = client.call("rebut", RebutRequest(agreement=agreement, stored=stored, after=number), KeptRemoval)
        answers = []
        if not number:
            history = [bytes.fromhex(one) for one in found.agreements]
            newest = add_steps(history[-PROOF_AGREEMENTS:], history)
            answers += [Rebuttal(agreements=newest), *(Rebuttal(endings=[bytes.fromhex(one)]) for one in found.endings)]
        if found.number:
            packs = [StoredId(bytes.fromhex(one)) for one in found.packs]
            answers.append(Rebuttal(removals=[ShownRemoval(bytes.fromhex(found.signed), packs)]))
        for answer in answers:
            if not judge(charge, answer).is_proven:
                return answer
        if not found.number:
            return None
        number = found.number


def _write(name: str, data: bytes) -> None:
    called = escape_name(name)
    try:
        # Nothing is replaced: the name may be that of the proof.
        with open(name, "xb") as file:  # noqa: PTH123 - a name as the person gave it, not a path to normalise
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # it is handed out: what was said to be written has to be there
    except FileExistsError as exc:
        raise UserError(f"{called} is there already", hint="name another file with --to FILE") from exc
    except OSError as exc:
        raise UserError(
            f"can't write {called}: {(exc.strerror or str(exc)).lower()}", hint="name a file with --to FILE"
        ) from exc


def _tell(context: Context, reason: str, place: str) -> int:
    screen = context.screen
    if screen.json:
        screen.value({"reason": reason, "file": os.path.abspath(place) if place else ""})  # noqa: PTH100
        return ExitCode.DONE
    if not place:
        screen.line(f"{screen.paint('✓', GREEN)} it proves nothing, without any answer: {reason}", hang=2)
        return ExitCode.DONE
    screen.line(f"{screen.paint('✓', GREEN)} you are excused: {reason}", hang=2)
    screen.line(f"  the answer is in {escape_name(place)}", hang=2)
    screen.hint("hand it to whoever has the proof: `backup-peer audit verify-proof FILE --rebuttal ANSWER` hears both")
    return ExitCode.DONE

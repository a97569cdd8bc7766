"""What hosts bear witness of in a recovery, heard or by their notes: rows, and what to tell of them (ADR 46).

Knows: heads shown, heads noted. Must not know: sessions, inboxes. Nothing proves that there is no newer state: two
hosts that agree are better than one, since they would have to hide the same.
"""

from collections.abc import Callable, Mapping, Sequence

from backuppeer.agent.recovery.inboxes import FoundNote
from backuppeer.clock import format_time
from backuppeer.control.recovering import WitnessRow
from backuppeer.ids import AgreementId, PeerId, format_peer_id
from backuppeer.proof.statements import Head, peek_statement
from backuppeer.wire.messages import HeadIs


def make_rows(
    agreements: Sequence[tuple[AgreementId, PeerId]],
    held: Mapping[AgreementId, HeadIs],
    notes: Mapping[AgreementId, FoundNote],
    alias: Callable[[PeerId], str],
) -> list[WitnessRow]:
    """Return a row for each agreement. `held`: heads shown by hosts that were heard, verified before."""
    rows = []
    for agreement, host in agreements:
        shown, note = held.get(agreement), notes.get(agreement)
        if shown is not None:
            number, time = (peek_statement(Head, shown.head).number if shown.head else 0), ""
        else:
            number = note.head.number if note is not None and note.head is not None else 0
            time = format_time(note.time_ms) if note is not None else ""
        rows.append(
            WitnessRow(peer_id=format_peer_id(host), alias=alias(host), heard=shown is not None, head=number, time=time)
        )
    return rows


def is_proven(rows: Sequence[WitnessRow]) -> bool:
    """Whether more than one host bears witness of what is newest, be it by a note."""
    return len({row.peer_id for row in rows if row.head}) > 1


def describe_rows(
    rows: Sequence[WitnessRow], name: Callable[[WitnessRow], str], reason: Callable[[WitnessRow], str]
) -> list[str]:
    """Return a sentence on each host that was not heard, and one where a single witness proves nothing."""
    said = []
    for row in rows:
        if row.heard:
            continue
        why = f" ({reason(row)})" if reason(row) else ""
        noted = f"; its note of {row.time[:10]} names head {row.head or 'none'}" if row.time else ""
        said.append(f"{name(row)} was not heard{why}{noted}")
    if not is_proven(rows):
        said.append("not provable as newest: a single host bears witness of it, and one host can hide what came later")
    return said

"""Which agreements of this home need their person: their term is nearly over, or is (ADR 44).

Knows: agreements, the clock. Must not know: terminals. Nothing ends by itself: the host keeps all until one side gives
notice, so these are reminders and no alarms.
"""

from collections.abc import Iterable
from typing import Final

from backuppeer.agent.home.state import State
from backuppeer.agent.peers.names import name_of
from backuppeer.clock import format_time
from backuppeer.ids import PeerId
from backuppeer.limits import RENEW_REMIND_S
from backuppeer.proof.revisions import SECOND_MS, end_ms
from backuppeer.proof.statements import Agreement, peek_statement

_RENEW: Final = "ask for more with the command peers renew"


def remind_of_terms(state: State, now_ms: int, hosts: Iterable[PeerId] | None = None) -> list[str]:
    """Return a sentence for each agreement, or each with one of `hosts`, whose term ends within RENEW_REMIND_S."""
    wanted = None if hosts is None else set(hosts)
    return [
        say_term(peek_statement(Agreement, signed), name_of(state, host), now_ms)
        for agreement, host, signed in state.agreements()
        if (wanted is None or host in wanted) and is_near_end(peek_statement(Agreement, signed), now_ms)
        if state.deeds.ending(agreement) is None  # of that there is more to say
    ]


def is_near_end(terms: Agreement, now_ms: int) -> bool:
    """Return whether a term is over, or will be within RENEW_REMIND_S, or the last quarter of a short one."""
    soon_s = min(RENEW_REMIND_S, terms.term_s // 4)
    return end_ms(terms) - soon_s * SECOND_MS <= now_ms


def say_term(terms: Agreement, name: str, now_ms: int) -> str:
    """Return what a person should know of such a term."""
    date = format_time(end_ms(terms))[:10]
    if end_ms(terms) <= now_ms:
        return (
            f"what you agreed on with {name} was until {date}: it still keeps all, as nothing ends by itself; {_RENEW}"
        )
    return f"what you agreed on with {name} is until {date}; {_RENEW}"

"""What a slot means for whoever offers it, in sentences: whom it turns away, what it asks for, how it is listed.

Knows: the request, the plan, what is hosted. Must not know: how it is asked or shown.
"""

from collections.abc import Iterator
from typing import Final

from backuppeer.agent.peers.offers import write_exact_size
from backuppeer.cli.promises import say_times
from backuppeer.cli.units import format_share, format_size, write_size
from backuppeer.control.api import HostingState, HostPlan, HostRequest
from backuppeer.trust.score import score

_USUAL_OFFER: Final = "50GB"


def say_refused(min_trust: float) -> Iterator[str]:
    """Return whom `--min-trust` turns away, compared friends among them where it does."""
    if not min_trust:
        return
    yield f"owners whom you trust less than {min_trust:.2f} as hosts are refused"
    friend = score(0.0, 0.0, is_friend=True)
    if friend < min_trust:
        yield f"so are friends whose words you compared, {friend:.2f}, until they have kept something of yours for long"


def say_asked(request: HostRequest) -> Iterator[str]:
    """Return what the slot asks for in return, and what of it others may ask for."""
    wish = request.promises
    if wish.reciprocity:
        yield f"whoever has space here keeps {say_times(wish.reciprocity)} for you; others are offered that"
    if wish.audit_bytes:
        yield f"up to {format_size(wish.audit_bytes)} a day of it are read for audits, if its owner wants that"
    if wish.egress_bytes:
        yield f"you may be held to send back {format_size(wish.egress_bytes)} a day"
    if wish.availability:
        there = format_share(wish.availability)
        yield (
            f"you promise to be there {there} of the time (in steps of 5 %, rounded down): who has data here sees it, "
            "and trusts you less if you are there less"
        )


def describe_share(request: HostRequest, plan: HostPlan) -> Iterator[str]:
    """Return what of the offer is still to be had, and how it is listed."""
    if plan.agreed_bytes:
        yield f"  · {format_size(plan.agreed_bytes)} of it are given already"
    if request.unlisted:
        yield "  · no server lists it: who has an invite finds it"
    elif plan.listed_bytes:
        yield f"  · it is listed as {format_size(plan.listed_bytes)} free: sizes in the list are powers of two"
    else:
        more = write_size(plan.agreed_bytes + request.storage)
        yield f"  · nothing is left to give: offer more in all, for example `backup-peer host --storage {more}`"


def say_unseen(storage_bytes: int, state: HostingState) -> str:
    """Say whether owners with only their words find a host without an offer, and how to offer as much as before."""
    size = write_exact_size(storage_bytes) if storage_bytes else _USUAL_OFFER
    if state.noted >= state.agreements:
        return "owners who lose their machine still find you with their 24 words: word is left for them daily"
    return (
        "no word is left yet for some owners, who can't find you again with their 24 words until you offer again: "
        f"`backup-peer host --storage {size}`"
    )

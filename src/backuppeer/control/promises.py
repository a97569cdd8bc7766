"""Shapes of what agreements promise beyond space and time (control.api, ADR 51).

Knows: what is wanted, and what stands. Must not know: the agent, the terminal. Budgets are bytes a day.
"""

import msgspec


class Promised(msgspec.Struct, kw_only=True, frozen=True):
    """What stands; 0: nothing is promised.

    reciprocity: for each byte that is agreed on, its owner keeps so many for the host. audit_bytes: read a day for
    audits, instead of what is usual for the size. egress_bytes: sent back a day at least. availability: the share of
    the time, 0 … 1, in which the host is there.
    """

    reciprocity: float = 0.0
    audit_bytes: int = 0
    egress_bytes: int = 0
    availability: float = 0.0


class PromiseWish(msgspec.Struct, kw_only=True, frozen=True):
    """What is wanted, each as `Promised`; None: as it stands, in something new as is usual: nothing."""

    reciprocity: float | None = None
    audit_bytes: int | None = None
    egress_bytes: int | None = None
    availability: float | None = None


NO_WISH = PromiseWish()
NOTHING_PROMISED = Promised()

"""Limits of an owner who audits hosts, and of what it remembers of that (ADR 43). See `limits`."""

from typing import Final

from backuppeer.limits.units import MIB

# --- when
AUDIT_EVERY_S: Final = 86_400
"""How often the agent audits a host by itself; the plan is one of days."""
AUDIT_FIRST_S: Final = 3600
"""How long after a host was first seen to keep something its first audit comes at the soonest."""
AUDIT_AWAY_DAYS: Final = 7
"""A host that is away is dialled for an audit after a day, two, four, then once in so many days."""
AUDIT_LOOK_S: Final = 900.0
"""How often the agent looks whether an audit is due, and how long one waits for a backup that runs."""
AUDIT_DAYS_BEHIND: Final = 59
"""Days of the plan that are made up for when a host was away: as long as a copy may wait for its turn."""

# --- one audit
AUDIT_UNANSWERED: Final = 3
"""So many times over AUDIT_WAIT_S, and what was not shown counts as lost (DESIGN 5)."""
AUDIT_WAIT_S: Final = 86_400
AUDIT_PENDING: Final = 256
"""Samples of one host that wait for an answer, and are asked for again in each audit: 4 MiB."""
AUDIT_ALONE: Final = 16
"""Of those, asked for one by one because a challenge came to nothing as a whole: one of them may be to blame."""
AUDIT_BROKEN: Final = 8
"""Challenges that may come to nothing in one audit, though the host is there: four minutes of one that stalls."""
AUDIT_STALE: Final = 3
"""How often a challenge is made anew because the host got another head meanwhile."""
AUDIT_PATIENCE_S: Final = 20.0
"""How long a host that says that it is busy is asked again."""
ACK_EXCHANGES: Final = 64
"""Acknowledgements asked for in one audit: 65,536 packs; the next audit goes on."""
LOSS_PAGES: Final = 64
"""Pages of loss reports read in one audit, of LOSS_REPORTS_PAGE each."""
LOSSES_WEIGHED_AT_ONCE: Final = 64
"""Reports compared with the ledger in one walk over it: their ids take 2 MiB; an audit walks seven times at most."""
AUDIT_PROOFS: Final = 4
"""Proofs written in one audit: each holds by itself, and a file takes up to 2 MiB."""
AUDIT_DOUBTS: Final = 30
"""Packs that a host did not acknowledge when asked, of which a leaf is asked for at once."""
AUDIT_SOUNDED: Final = 1024
"""Packs of a stranger of which `audit --now` asks for a leaf each, so that more may lie there: 16 GiB of full packs.
With the hashes of leaves the host reads 48 MiB for them: less than AUDIT_BUDGET_LEAST_BYTES."""

# --- restore drills
DRILL_BYTES: Final = 256 * MIB
"""Restored from a host in one drill at most."""
DRILL_FILES: Final = 64
"""Files of one drill: each is restored by itself."""

# --- what is remembered
AUDIT_RECEIPTS: Final = 16
"""Countersigned heads kept whole for each agreement: a loss is charged upon one between its two words."""
PROVEN_WITHIN_DAYS: Final = 30
"""What was shown this lately counts as proven."""
PUT_OFF_DAYS: Final = 3
"""On so many days a host may be too busy to give something back, or its disk be away, while it passes audits."""
PUT_OFF_WITHIN_DAYS: Final = 30
"""Of the last so many."""

"""Limits of audits, and of what is judged by them (DESIGN 5; issue "a host you need not trust"). See `limits`."""

from typing import Final

from backuppeer.limits.format import BLOCK_BYTES, LEAF_BYTES
from backuppeer.limits.peers import SUCCESSION_STEPS
from backuppeer.limits.units import GIB, KIB, MIB

# --- statements
AUDIT_SAMPLES: Final = 30
"""Ranges that one challenge asks for, and hashes in its answer: a day's, in 2 KiB."""
AUDIT_SAMPLE_LEAVES: Final = BLOCK_BYTES // LEAF_BYTES
"""Leaves of one range: a block, the most that a host keeps in memory for one answer."""
ACK_PACKS: Final = 1024
"""Packs that one acknowledgement or loss report names: 16 GiB of full ones, their ids 32 KiB."""
LOSS_REPORTS_PAGE: Final = 6
"""Reports in one answer: 6 times 1,024 ids and 4 KiB are below a frame's cap."""

# --- proofs of misbehaviour and rebuttals
PROOF_BYTES: Final = 2 * MIB
"""Longest file: one range (1 MiB), two lists of ids, a dozen statements; or a rebuttal with all it may hold."""
PROOF_AGREEMENTS: Final = 4
"""Revisions of the agreement for one file: a proof's statements name at most three."""
PROOF_REVISIONS: Final = PROOF_AGREEMENTS + SUCCESSION_STEPS
"""With those between by which owner or host went on as another (ADR 69)."""
PROOF_PATH_NODES: Final = 128
"""Nodes beside one range: at most two on each of 64 levels."""
REBUTTAL_ENDINGS: Final = 4
"""Notices and words of the 24 words' key that one rebuttal shows: one is enough."""
REBUTTAL_REMOVALS: Final = 32
"""Requests to remove packs that a rebuttal shows: 36 KiB each, and one is enough."""

# --- what is challenged when
AUDIT_CYCLE_DAYS: Final = 30
AUDIT_UNIFORM_PER_CYCLE: Final = 30 * AUDIT_CYCLE_DAYS
"""900 leaves drawn at random miss a loss of 1 % with a chance of 0.0001."""
AUDIT_UNIFORM_PER_MILLION: Final = 500
"""Below 32 GiB: so much of the stored bytes, counted as they travel, is drawn in a cycle."""
AUDIT_SAMPLE_BYTES: Final = 17 * KIB
"""What a sample of one leaf costs on the wire at most: the leaf, its path, its part of challenge and answer."""
AUDIT_SMALL_PACK_BYTES: Final = 1 * MIB
"""Smaller packs are not covered in every cycle but in proportion to their bytes: a leaf is much of them."""
BULK_READ_BYTES: Final = 1 * GIB
BULK_READ_PERCENT: Final = 1
"""Read whole blocks of each month: so much, or this part of what is stored if that is less."""

# --- what a host answers, and looks for by itself
AUDIT_ANSWER_BYTES: Final = 1 * MIB
"""Leaves that one answer shows, and a host keeps in memory for it; samples beyond stay unanswered."""
AUDIT_BUDGET_LEAST_BYTES: Final = 64 * MIB
"""Read a day for the audits of one agreement, whatever its size: `audit --now` again and again over a small one."""
AUDIT_BUDGET_PERMILLE: Final = 5
"""And so much of what is agreed on: a day's plan reads 0.1 % of it at most, leaf hashes included."""
AUDIT_BUDGET_BULK_READS: Final = 2
"""And the month's bulk read on one day, once more if it failed half-way."""
LOSS_REPORTS_PER_AGREEMENT: Final = 1024
"""Files of at most 37 KiB that stay; a disk that loses more than that is told by what is no longer listed."""
LOSSES_SETTLED_AT_ONCE: Final = 64
"""Suspects read whole again before one report: 1 GiB of full packs."""
LOSS_KEPT_S: Final = 60 * 86_400
"""How long what is left of a damaged pack stays for its owner to read, of the time that the host's agent runs."""
LOSS_RETRY_S: Final = 600
"""After a report could not be written, until it is tried again."""
LOSS_GRACE_S: Final = 900.0
"""What was gone when the store was opened is looked for again after this: its human may be moving folders."""
LOSS_TOLD_S: Final = 30 * 86_400
"""How long `status` of a host tells of a loss."""
SCRUB_DAYS: Final = 60
"""In so many days of running a host reads all that it keeps: a machine that is off one day in three needs 90."""
SCRUB_DAY_LEAST_BYTES: Final = 1 * GIB
"""Read a day at least, if there is that much."""
SCRUB_BYTES_PER_S: Final = 8 * MIB
"""A twentieth of what a slow disk gives: nobody should notice."""
SCRUB_REST_S: Final = 7 * 86_400
"""From the start of one round to the next, at least: small stores would be read every day."""
SCRUB_LOOK_S: Final = 1800.0
"""How often is looked whether there is something to read; also how long a store that is away is left alone."""

"""Limits of audits, and of what is judged by them (DESIGN 5; issue "a host you need not trust"). See `limits`."""

from typing import Final

from backuppeer.limits.format import BLOCK_BYTES, LEAF_BYTES
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
"""Revisions of the agreement in one file: a proof's statements name at most three."""
PROOF_PATH_NODES: Final = 128
"""Nodes beside one range: at most two on each of 64 levels."""
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

"""Limits of audits, and of what is judged by them (DESIGN 5; issue "a host you need not trust"). See `limits`."""

from typing import Final

from backuppeer.limits.format import BLOCK_BYTES, LEAF_BYTES
from backuppeer.limits.units import MIB

# --- statements
AUDIT_SAMPLES: Final = 30
"""Ranges that one challenge asks for, and hashes in its answer: a day's, in 2 KiB."""
AUDIT_SAMPLE_LEAVES: Final = BLOCK_BYTES // LEAF_BYTES
"""Leaves of one range: a block, the most that a host keeps in memory for one answer."""
ACK_PACKS: Final = 1024
"""Packs that one acknowledgement or loss report names: 16 GiB of full ones, their ids 32 KiB."""

# --- proofs of misbehaviour and rebuttals
PROOF_BYTES: Final = 2 * MIB
"""Longest file: one range (1 MiB), two lists of ids, a dozen statements; or a rebuttal with all it may hold."""
PROOF_AGREEMENTS: Final = 4
"""Revisions of the agreement in one file: a proof's statements name at most three."""
PROOF_PATH_NODES: Final = 128
"""Nodes beside one range: at most two on each of 64 levels."""
REBUTTAL_REMOVALS: Final = 32
"""Requests to remove packs that a rebuttal shows: 36 KiB each, and one is enough."""

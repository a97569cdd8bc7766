"""Limits of receipts, vouches and proofs that spread from peer to peer (DESIGN 8, ADR 62). See `limits`."""

from typing import Final

RECEIPT_GAP_MONTHS: Final = 6
"""Longest gap that one note explains: a home that was away for longer begins anew."""
RECEIPT_COUNTS_DAYS: Final = 60
"""How long after its month a receipt counts: the next month has passed then, and another to have it signed and seen."""
CLAIM_COUNTS_DAYS: Final = 180
"""How long a claim of a failure counts, as a proof does."""
RECEIPT_MOST_BYTES: Final = 2**50
"""What a receipt may speak of: beyond a pebibyte nobody of ours keeps anything; 31 GiB carry all that a pair can."""
VOUCH_TERM_S: Final = 365 * 86400
"""How long a person's word for a friend counts before it has to be given again."""
MONTH_END_JITTER_S: Final = 60
"""So long after its end at most a month is settled in a session that is open: unused ones end after 10 min."""
MONTH_END_LOOK_S: Final = 3600
"""How long an open session is left before it is looked anew whether a month is over: clocks are set, machines sleep."""

# --- what is shown, and asked
RECEIPT_ROWS: Final = 4096
"""Rows of salted ids in one answer, 32 bytes each: half a frame."""
RECEIPT_ROWS_LEAST: Final = 16
"""Who holds fewer fills up with noise: how many hosts a newcomer has is nobody's business."""
RECEIPTS_NAMED: Final = 64
"""Rows that a viewer may name back in one session (DESIGN 8)."""
PROOFS_SHOWN: Final = 4
"""Proofs of misbehaviour among them, up to 2 MiB each."""
RECEIPT_ASK_S: Final = 86400
"""How often a viewer asks one partner at most."""
RECEIPT_ANSWERS_A_DAY: Final = 4
"""How often one peer is answered in a day: to guess pairs of ids takes as many days."""
MY_RECEIPTS_PAGE: Final = 16
"""Own receipts that are handed back at once: 16 of at most 4 KiB are a quarter of a frame."""

# --- what is kept
RECEIPTS_KEPT: Final = 100_000
"""Of others, newest of each pair: 100 MB at the most."""
WORD_BYTES: Final = 1024
"""Longest receipt or vouch of others that is kept: without `ext` they have 500 bytes."""
RECEIPTS_PER_DELIVERER: Final = 4096
"""Of these, brought by one peer: one that shows a million takes a twenty-fifth of the room, no more."""
RECEIPTS_PER_OWNER: Final = 256
"""Of the room of one deliverer, for receipts of one owner: nobody has so many hosts."""
PROOFS_KEPT: Final = 64
"""Proofs of misbehaviour, brought by others, one of each host: 128 MB at the most."""
PROOFS_PER_DELIVERER: Final = 16
"""Of these, brought by one peer; the oldest of its own make way for more."""
RECEIPT_ASKED_PEERS: Final = 4096
"""Of so many peers is remembered when they were asked or answered last."""

# --- what others think of this home
OPINION_ASK_S: Final = 3600
"""How often a peer is told what we think of it."""
OPINION_REASONS: Final = 8
OPINION_REASON_CHARS: Final = 120

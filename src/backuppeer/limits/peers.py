"""Limits of hosts, and of what is believed of them (DESIGN 5, 8). See `limits`."""

from typing import Final

from backuppeer.limits.format import PACK_MIN_BYTES
from backuppeer.limits.units import GIB, KIB, MIB

# --- host (DESIGN 5)
LOCK_DEFAULT_S: Final = 30 * 86400
TERM_DEFAULT_S: Final = 365 * 86400
NOTICE_DEFAULT_S: Final = 30 * 86400
NOTICE_MOST_S: Final = 90 * 86400
"""Longest notice that a host co-signs: its disk is bound for so long after the agreement ended, whoever ended it."""
FREE_DISK_FLOOR_BYTES: Final = 1 * GIB
STORAGE_MIN_BYTES: Final = 64 * MIB
"""Smallest slot, and smallest wish: packs are up to 16 MiB and four are under way at once, so less is full at once."""
PACKS_PER_GIB: Final = 4096
"""Blob-count quota: no agreement fills the catalogue with minimal packs."""
AGREEMENT_PACKS_MIN: Final = 64
"""Packs that even the smallest agreement may hold."""
STORE_RATE_S: Final = 86400.0
STORE_RATE_FACTOR: Final = 4
STORE_RATE_LEAST_BYTES: Final = 1 * GIB
STORE_RATE_LEAST_PACKS: Final = 4096
"""Within a day an agreement takes so many times its size, or packs, and these, be it that room was made in between:
whoever stores, withdraws and stores again must not wear out a disk. A backup that broke off twice is below that."""
AGREEMENTS_PER_OWNER: Final = 16
"""No owner fills the host's folder of agreements; as many as fit into one Hello."""
TERM_ROUND_S: Final = 86400
"""Renewed terms are whole days long: who asks for the same again on the same day makes no other request."""
RENEW_REMIND_S: Final = 30 * 86400
"""How long before a term ends its owner is reminded; of a term of less than four months in its last quarter."""
AGREEMENT_REVISIONS: Final = 4096
"""Length of one agreement's chain: each revision is a file."""
WAIVER_WINDOW_S: Final = 86400
"""How far the time in a word of the 24 words' key may be from the host's: told at once, but clocks of homes are off."""
WAIVER_RETRY_S: Final = 20.0
"""How long a host that went away is tried again when the 24 words were typed for it: the same again does no harm."""
FORMER_OWNER_S: Final = 30 * 86400
"""How long an owner whose last agreement has ended is still answered: it may have missed that."""
FORMER_OWNERS: Final = 256
"""How many of them are remembered, the latest: 40 bytes each."""
WAIVERS_PER_AGREEMENT: Final = 1024
"""Such words that a host keeps as they were signed, each a small file."""
WASTE_PACKS: Final = 65536
"""Packs of a head that are noted as needed by no snapshot: a terabyte in 1 MiB. What is above that is copied, too."""
REMOVAL_PACKS: Final = 1024
# Packs that stay drafts with a further head: 64 GiB, 139 kB on the wire. What is above that waits for its lock.
HEAD_DRAFTS: Final = 4096
"""Packs that one signed delete or revive names: 16 GiB of full ones in 35 kB."""
REMOVALS_PER_AGREEMENT: Final = 16384
"""Signed deletes and revives kept to answer a charge with."""
REMOVALS_LEAST_BYTES: Final = 1 * MIB
REMOVALS_SHARE: Final = 512
"""What they may take beside the agreed space, and one part in so many of it. To delete all full packs once takes a part
in 500,000, the smallest ones a part in 8,000."""
LIST_RESERVE_BYTES: Final = 4 * MIB
"""What lists of snapshots and packs may take beyond a full agreement: 16 of the smallest packs within one lock."""
LIST_RESERVE_PACKS: Final = 16
SWEEP_S: Final = 600.0
"""How often a host counts the time that passed for deleted packs."""
SWEEP_SOONEST_S: Final = 1.0
"""How often at most it looks when a lock is nearly over."""
SWEEP_BATCH: Final = 256
"""Packs erased between two looks at whether the store is still there: 4 GiB of full ones."""
HOLD_WINDOW_S: Final = 7 * 86400
"""Requests to delete within this time of a store's age count together (DESIGN 5)."""
HOLD_PERMILLE: Final = 100
"""Of the data at the beginning of that time: when more than this is to be deleted, the hold doubles."""
HOLD_FACTOR: Final = 2
"""How many locks it then takes, and the most that an owner believes of a host."""
ALARM_STEP_PERCENT: Final = 10
"""A mass deletion that goes on is told of again when it has grown by this."""
NEXT_FREE_SPAN_S: Final = 86400
"""Deleted packs that are erased within a day are told of as one: "x more on DATE"."""
CLOCK_JUMP_S: Final = 86400.0
"""Wall time that runs ahead of or behind this machine's own by more than this, between two looks, is no time passed."""
PREMISES_NOTES: Final = 32
"""Things about its store that a host tells its person in `status`."""
PACKS_RECEIVED_AT_ONCE: Final = 64
"""Over all owners: a temporary file, its room and up to a MiB of memory each."""
PACKS_READ_AT_ONCE: Final = 128
"""Over all owners: an open file and up to a MiB of memory each."""
PLACES_PER_PEER: Final = 12
"""Such places of each kind that one peer may hold over all its sessions: what one session and its lanes can use."""
PLACE_WAIT_S: Final = 5.0
"""How long a request waits for such a place before it is refused: well below REPLY_S."""
NEWCOMERS_PERMILLE: Final = 500
"""The part of these places that owners with nothing stored here may hold: identities cost nothing."""
KNOWN_OWNER_BYTES: Final = PACK_MIN_BYTES
"""What an owner must have stored here to be no newcomer: one pack, the smallest there is."""
UNASKED_AGREEMENTS: Final = 256
"""Agreements, promised ones included, that `--accept all` or `trusted` makes without a person: each is a folder."""
PENDING_REQUESTS: Final = 64
BLOCK_REASON_CHARS: Final = 200
"""Words of our own person about a peer, shown in `peers`."""
REQUEST_KEPT_S: Final = 7 * 86400
REQUEST_SETTLED_SHOWN_S: Final = 86400
"""How long `requests` shows what was settled: long enough to be seen, short enough not to hide what waits."""
REQUEST_RESERVED_S: Final = 86400
"""How long accepted space is kept free for an owner that has not come to agree: its agent asks every 10 minutes."""
REJECTED_WISHES_PER_DAY: Final = 3
"""Wishes of one owner that a person turns down in a day before further ones are refused without asking."""
REQUEST_PREFIX_CHARS: Final = 4
"""Shortest prefix of a request's id that a person may give: 16 bits among at most 64 waiting requests."""

# --- trust (DESIGN 8)
OBSERVATION_DETAIL_CHARS: Final = 200
"""Words kept beside an observation, for people."""
OBSERVATIONS_PER_DAY: Final = 1024
"""Of one kind about one peer: a flood of faults must not fill our disk."""
EVIDENCE_DAYS: Final = 3 * 365
"""Days that a score looks back: faults of half-life 365 d have faded to an eighth."""
COMPACT_AFTER_DAYS: Final = 90
"""From this age on what was seen is kept as counts of days: one row for each kind, not one for each time."""
COMPACT_STEP_DAYS: Final = 7
"""Days condensed at a time: a log that was never condensed holds up nobody who writes for long."""
COMPACT_EVERY_S: Final = 86_400.0
AVAILABILITY_DAYS: Final = 30
"""Availability, latency and throughput are those of the last month: older habits say little about tomorrow."""
WINDOWS_KEPT: Final = 240
"""Windows of six hours in a mask: 60 days, so that hosts looked at every other day can be compared, too."""
CONTACTS_PER_DAY: Final = 256
"""Contacts with one peer written down in a day: who comes and goes every second must not fill our disk."""
CONTACT_AGAIN_S: Final = 600.0
"""A dial that fails as the one before it is written down again after this: a job that waits for a host tries often."""
CONTACT_RESULT_CHARS: Final = 200
"""Words on how a contact ended, for people."""
CONTACTS_SHOWN: Final = 10
CONTACTS_SHOWN_MOST: Final = 1000
"""Contacts that `peers show` prints, and prints at most."""
PACE_CONTACTS: Final = 1024
"""Contacts of the last month, the newest, from which latency and throughput are taken."""
PACE_LEAST_BYTES: Final = 1 * MIB
"""A session that moved less says nothing of how fast a peer is."""
PRESENCE_LOOK_S: Final = 300.0
"""How often is looked whether a host is due: the windows themselves are six hours long."""

# --- who is who, and alarms about it
IDENTITY_ALARMS: Final = 64
"""Alarms kept: one for each sort and peer that is known here, so that nobody can drive one out by being strange."""
IDENTITY_ALARM_AGAIN_S: Final = 86400
"""How long an alarm that was seen is not told again though its cause goes on: an agent dials its hosts all day."""

SUCCESSION_STEPS: Final = 8
"""Successions of identities followed one after the other: whoever goes on as another each week hides nothing by it."""
SUCCESSION_SPARE_BYTES: Final = 1 * KIB
"""Kept free in an agreement that a host signs: a signed succession has some 400, and must fit in beside all else."""
SUCCESSIONS_TOLD: Final = 64
"""Successions that a peer is told of at once, and names back at most: those followed last."""

# --- hosts chosen together
REGIONS_KEPT: Final = 256
"""Hosts whose listed region is remembered: own hosts, and those that were looked at to be connected to."""
TRIAL_TERM_S: Final = 30 * 86400
"""How long a trial is: as many days as the cap of a stranger looks back."""
OPINIONS_WAIT_S: Final = 600.0
"""The longest that a person may have partners waited for that are asked what they think."""
OPINIONS_AT_ONCE: Final = 16
"""Partners that are dialled side by side for that."""
EXPOSURE_AGAIN_S: Final = 10.0
"""How long it holds what is known of how much may lie with a host, and does: both are sums over all packs."""

# --- sessions that a person ends, and that are looked for again
PARTING_S: Final = 60.0
"""How long what is under way may take when a person ends a session: a pack at two Mbit/s."""
PARTED_S: Final = 600.0
"""How long work that was under way then does not connect there again by itself; a new command does at once."""
RECONNECT_S: Final = 120.0
"""How long a session that was lost is looked for again; then its peer is dialled when something needs it."""
RECONNECTS: Final = 64
"""Lost sessions that are looked for at once: a host whose line was down has hundreds of owners, and they come back."""
WAKE_LOOK_S: Final = 5.0
"""How often is looked whether this machine slept, or has other addresses."""
SLEPT_S: Final = 3.0
"""A shorter sleep than this no peer notices."""

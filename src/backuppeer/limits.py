"""Every cap, timeout and bucket, with its unit in the name and its reason beside it.

Knows: numbers. Must not know: anything else. Each cap on input from outside has a test that reaches it.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# --- repository format v1 (DESIGN 4, docs/format.md)
CHUNK_MIN_BYTES: Final = 256 * KIB
CHUNK_AVERAGE_BYTES: Final = 1 * MIB
CHUNK_MAX_BYTES: Final = 4 * MIB
CHUNK_LEVEL: Final = 2
"""Normalised chunking: at 2 the sizes of chunks of random data deviate by 288 KiB, at 1 by 565 KiB (measured)."""
PACK_TARGET_BYTES: Final = 16 * MIB
"""A pack never exceeds this, padding included; so one buffer size fits all."""
PACK_MIN_BYTES: Final = 256 * KIB
PACK_BLOBS: Final = 8192
"""Entries of one directory; keeps a hostile directory below 400 KiB."""
TAIL_READ_BYTES: Final = 128 * KIB
"""What recovery reads of a pack first: footer, and the directory of nearly every pack."""
BLOCK_BYTES: Final = 1 * MIB
"""Ranged reads are whole blocks, so a host can't see which file of a pack is wanted."""
LEAF_BYTES: Final = 16 * KIB
BLOB_PLAIN_BYTES: Final = CHUNK_MAX_BYTES
"""Largest plaintext of any blob; decompression stops here."""
MERKLE_LENGTH_BYTES: Final = 2**63 - 1
"""Longest input of a Merkle tree: lengths are bound into the root as 64 bits and must fit a signed integer."""
COMPRESS_SAMPLE_OVER_BYTES: Final = 256 * KIB
"""Larger blobs are tried on a sample first: compressing a megabyte of video in vain costs 3 ms."""
COMPRESS_SAMPLE_BYTES: Final = 64 * KIB
COMPRESS_SAVE_PERMILLE: Final = 30
"""What compression must save to be kept: below this, decompressing costs more than the bytes."""
TREE_PIECE_ENTRIES: Final = 8192
TREE_PIECE_MIN_ENTRIES: Final = 1024
"""A piece of a directory is not cut before this, so that small directories are one blob."""
TREE_PIECE_BYTES: Final = 1 * MIB
"""A piece of a directory is cut here at the latest, whatever its entries; decoding holds one piece."""
TREE_DEPTH: Final = 4096
"""Directories below each other; hostile trees deeper than this are refused."""
ENTRY_NAME_BYTES: Final = 4096
LINK_TARGET_BYTES: Final = 64 * KIB
CONTENT_INLINE_IDS: Final = 4096
"""Chunks named in a file's entry itself; larger files name lists of chunks, so that entries stay small."""
CONTENT_BYTES: Final = 1 * MIB
"""Ids that one entry or snapshot may hold."""
ID_LIST_MAX: Final = 16384
"""Ids of one list blob: 512 KiB of blob ids, 256 KiB of pack ids."""
ACCOUNT_NAME_CHARS: Final = 256
EXTENSION_BYTES: Final = 64 * KIB
"""All extension fields of one entry or snapshot together."""
ATTRIBUTE_NAME_BYTES: Final = 255
"""XATTR_NAME_MAX of Linux."""
ATTRIBUTES_BYTES: Final = 60 * KIB
"""Extended attributes of one entry, names and values: what EXTENSION_BYTES leaves them. ext4 keeps 4 KiB, others 64."""
HOLE_BYTES: Final = 4 * KIB
"""Zeros that a restore leaves out of a file that had holes, where they begin at a multiple of it: the block of most
file systems."""
SNAPSHOT_PATHS: Final = 4096
SNAPSHOT_TAGS: Final = 256
SNAPSHOT_TEXT_CHARS: Final = 1024
SNAPSHOT_PREFIX_CHARS: Final = 4
"""Shortest prefix of a snapshot's id that a person may give (DESIGN 10)."""
INVENTORY_SNAPSHOTS: Final = 65536
INVENTORY_PIECES: Final = 65536
"""Lists of pack ids in one inventory: about 270 million packs, 4 PiB."""
INDEX_BATCH: Final = 256
"""Blob ids of one look-up: as many question marks as SQLite prepares quickly."""
INDEX_CACHE_KIB: Final = 16 * KIB
"""Page cache of the index; memory stays bounded whatever the number of chunks."""
TREE_CACHE_BYTES: Final = 1 * GIB
"""Local copies of tree, snapshot and index blobs; the oldest go first."""
TREE_CACHE_KIB: Final = 4 * KIB
"""Page cache of the tree cache: its blobs are read once each."""
TREE_CACHE_TOUCHES: Final = 65536
"""Reads of the tree cache remembered before they are written down as recent use."""

# --- engine: files and backup
ENGINE_WORKERS: Final = 2
"""Threads that read, hash and compress; more only fight for the interpreter's lock on two cores."""
SMALL_FILE_BYTES: Final = 4 * MIB
"""Files up to this are read whole by a worker; larger ones are streamed in segments."""
SEGMENT_BYTES: Final = 4 * MIB
"""A piece of a large file under way: one longest chunk."""
SEGMENTS: Final = 4
"""Segments under way at once: 16 MiB of buffers."""
BATCH_FILES: Final = 64
"""Small files handed to a worker at once, so that the hand-over is paid once for all of them."""
BATCH_BYTES: Final = 1 * MIB
BATCH_DIRECTORIES: Final = 32
"""Directories whose nodes are encoded in one go."""
BATCHES_IN_FLIGHT: Final = 6
"""Batches under way: keeps the workers busy and the memory small."""
READ_PIECE_BYTES: Final = 256 * KIB
"""What is read from a transport stream at a time (FACTS: 64 to 256 KiB)."""
WRITE_PIECE_BYTES: Final = 1 * MIB
"""What is handed to a transport stream at a time."""
RESTORE_WINDOW_BLOBS: Final = 24576
"""Blobs wanted by the files of one window; two windows are under way, some 15 MiB of plan each. Large, because equal
files far apart want the same packs: with 8,192 a tree of interpreters fetched its packs 2.6 times, so 1.7 times."""
RESTORE_WINDOW_BYTES: Final = 1024 * MIB
"""Plain bytes of those files: far enough ahead that packs are fetched once, without holding the bytes."""
RESTORE_FIRST_BLOBS: Final = 1024
"""Blobs of the first window: files come before the walk is far; a restore with more than these starts workers."""
RESTORE_OPEN_FILES: Final = 240
"""Files of several chunks in one window: what one message to a worker may bring (WORKER_DESCRIPTORS)."""
RESTORE_WORKERS: Final = 4
"""Worker processes of one restore at most, one per processor; each takes 25 MB and shares 16 MiB."""
WORKER_DESCRIPTORS: Final = 240
"""Descriptors in one message between agent and worker; Linux passes 253 (SCM_MAX_FD)."""
WORKER_FRAME_BYTES: Final = 256 * MIB
"""One message between agent and worker: what one window wants of one pack, some 4 MiB; paths of 4 KiB make it 100."""
WORKER_LOOK_S: Final = 0.2
"""How often who waits for a worker looks whether the job was cancelled."""
WORKER_END_S: Final = 10.0
"""What a worker may take to end; it ends after the file it is at."""
RESTORE_OPEN_DIRECTORIES: Final = 256
"""Directories kept open below a target: a pack's files lie in a few hundred; well below 1,024 descriptors."""
RESTORE_WHOLE_PACK_PERMILLE: Final = 500
"""When this share of a pack is wanted, the whole pack is fetched: one request instead of many."""
RESTORE_FRUITLESS_READS: Final = 256
"""Packs that can't be had before a restore stops asking for each of them with full patience."""
KNOWN_BATCH: Final = 1024
"""Blob ids that the restorer looks up at once."""
TREE_BATCH: Final = 64
TREE_PREFETCH_BLOBS: Final = 4096
"""Directory blobs fetched ahead of the walk, so that a restore doesn't wait for each directory."""
NOTED_SKIPS: Final = 20
"""Skipped entries (sockets, devices) named one by one; the rest is counted."""
LOSSES_NAMED: Final = 5
"""Missing snapshots named one by one; the rest is counted."""
CONFLICTS_NAMED: Final = 5
"""Files in the way of a restore that the refusal names."""
CONFLICTS_LISTED: Final = 10
"""Files in the way of a restore that its question lists: a person reads no more."""
LS_ROWS: Final = 200_000
"""Entries of one `ls` answer: it is held in memory on both sides."""

# --- statements and wire (DESIGN 3, 6)
STATEMENT_BYTES: Final = 4 * KIB
STATEMENT_EXTENSIONS: Final = 16
STATEMENT_EXTENSION_CHARS: Final = 64
"""Longest name of an extension field."""
SIGNED_BYTES: Final = STATEMENT_BYTES + 4 + 2 * 64
"""A statement with its length and at most two signatures."""
WORDS_CHARS: Final = 1024
"""24 words of eight letters, with generous space between them."""
FRAME_BYTES: Final = 256 * KIB
"""One wire message; bulk bytes travel raw after a frame."""
HANDSHAKE_FRAME_BYTES: Final = 4 * KIB
"""What an unproven stranger may make us read."""
HANDSHAKE_S: Final = 10.0
DIAL_S: Final = 10.0
"""iroh gives up after 30 s by itself (FACTS)."""
HEARTBEAT_S: Final = 5.0
DEAD_AFTER_S: Final = 15.0
IDLE_CLOSE_S: Final = 600.0
REQUEST_STREAMS: Final = 8
"""Request streams at once that one session may hold open at us."""
OPEN_SESSIONS: Final = 512
"""Sessions at once: a hundred KiB each. Beyond, who has packs here comes in, in place of who has not."""
PEER_ADDRESSES: Final = 4
ADDRESS_CHARS: Final = 64
UNPROVEN_CONNECTIONS: Final = 32
"""Connections in handshake at once, over all strangers."""
STRANGER_BYTES: Final = 2 * MIB
"""What a connection may buffer at us before its peer is proven; more closes it."""
STRANGER_LOOK_S: Final = 0.1
"""How often that is looked at."""
PACK_LIST_PAGE: Final = 2048
PACKS_LISTED: Final = 1_000_000
"""Packs that one host may list: 16 TiB of full ones, 100 MB of memory here; a list without end would fill it."""
AGREEMENTS_PER_HELLO: Final = 16
PROTOCOL_TEXT_CHARS: Final = 256
"""Words of a peer in a refusal: escaped, then shown to a person."""
PROGRAM_CHARS: Final = 64
RANGE_PATH_NODES: Final = 64
"""Hashes of one Merkle path: a range has at most two edges in a tree of 10 levels."""
UNKNOWN_MESSAGES: Final = 16
"""Messages of unknown type on one stream: a few are a newer version, many an attack on our time."""
CLOSE_REASON_BYTES: Final = 256
ENDPOINT_CLOSE_S: Final = 5.0
REPLY_S: Final = 30.0
"""How long one answer on a request stream may take; the session's heartbeat finds a dead peer sooner."""
LANES_PER_SESSION: Final = 4
"""As many as packs are in flight: a pack waits for the host's disk, and another can travel meanwhile."""
LANE_FRAME_BYTES: Final = MIB
LANE_FRAME_LEAST_BYTES: Final = 16 * KIB
LANE_SMALL_FRAMES: Final = 64
"""Frames below that in one stream: messages, and the end of a body."""
LANE_BYTES: Final = 256 * GIB
"""Over one lane, then another is made: well below what one AES-GCM key may seal (RFC 8446, 5.5)."""
LANE_SILENT_S: Final = 20
"""A connection whose peer acknowledges nothing for this long is given up by the system."""
LANE_TOKEN_BYTES: Final = 32
LANE_CERTIFICATE_BYTES: Final = 1024
"""Ours have 261."""
LANE_OFFER_S: Final = 30.0
LANE_DIAL_S: Final = 3.0
LANE_HANDSHAKE_S: Final = 5.0
LANE_HANDSHAKES: Final = 8
"""At one door at once."""
LANE_ATTEMPTS: Final = 3
"""To have a lane in one session; then it stays with QUIC, e.g. because a NAT is in between."""
BULK_STALL_S: Final = 60.0
"""A transfer without a byte for this long, or slower than a MiB in this time, is given up and retried."""
LAGGARD_S: Final = 60.0
"""A host that takes less than LAGGARD_BYTES in this time, while all others of a backup wait for it, is left behind."""
LAGGARD_BYTES: Final = 4 * MIB
"""70 KiB/s, half a megabit: slower lines are served by a backup to that host alone, which nobody else waits for."""
RETRY_BUDGET_S: Final = 90.0
"""How long a network step goes on retrying before it tells the person (backoff with full jitter)."""
RETRY_FIRST_S: Final = 0.5
RETRY_MOST_S: Final = 15.0
WITNESS_S: Final = 5.0
"""How long the newest head of a host is waited for that a backup does not go to, or that a restore may do without: long
enough for one that is there."""
HEAR_S: Final = 60.0
"""How long one host may take to be reached and to show its head; hosts are heard side by side."""
REBUILD_AT_ONCE: Final = 8
"""Directories read side by side while an index is rebuilt."""
REFRESH_S: Final = 60.0
"""What a host may take to tell what it holds, beside what it earns: without this, rows that drip hold up every job."""
REFRESH_PACK_S: Final = 2.0
"""Earned by each pack that could be opened: a tail of 128 KiB over a line of half a megabit."""
REFRESH_ROW_S: Final = 0.01
"""Earned by each row that names a pack known before."""
RECOVERY_KNOCKS: Final = 8
"""Hosts asked side by side whether they know us."""

# --- signaling (DESIGN 7)
LISTING_BYTES: Final = 2 * KIB
LISTING_LIFE_S: Final = 2 * 3600
LISTING_REFRESH_S: Final = 55 * 60
LISTING_FUTURE_S: Final = 48 * 3600
CLOCK_SKEW_S: Final = 2 * 3600
LISTING_GRACE_S: Final = 60
"""A listing outlives its publisher's connection by this."""
LISTING_SERVERS: Final = 4
"""Servers that a listing may name: more don't fit beside the envelope key."""
LISTING_TERM_S: Final = 100 * 365 * 86400
"""Longest term or lock anybody may name: a century, so that sums of times stay small."""
LISTING_NUMBER_KEPT_S: Final = 6 * 3600
"""How long a server remembers the number of a listing that is gone, so that an old one can't come back."""
SEQ_MEMORY_PEERS: Final = 100_000
"""Peers whose highest listing number a viewer remembers: 7 MiB."""
HEARD_PEERS: Final = 20_000
"""Hosts heard of by browsing that prefixes resolve among: all that one server hands out with `--all`, in 1.5 MiB."""
KNOCK_BYTES: Final = 4 * KIB
KNOCK_LIFE_S: Final = 3600
KNOCK_SERVERS: Final = 2
"""Servers at which one knock's reply inbox is open."""
KNOCK_TEXT_CHARS: Final = 240
KNOCK_BINDING_BYTES: Final = 1 * KIB
KNOCK_NONCES: Final = 65536
"""Nonces of knocks remembered against replay; full means refusing new ones, never forgetting."""
PARTNER_NONCES_PERMILLE: Final = 250
"""The part of them kept for partners."""
STRANGER_KNOCKS_PER_MINUTE: Final = 120
"""Of all strangers together that a host hears: each costs it durable writes and a socket for the reply."""
PARTNER_KNOCKS_PER_MINUTE: Final = 30
"""Of each partner: more than one that looks for us every few seconds sends."""
KNOCK_REPLY_S: Final = 8.0
"""How long one knock waits for its reply: hosts answer at once, if only "a person must decide"."""
KNOCK_AGAIN_S: Final = 10.0
"""While a person waits for an answer the knock is repeated; in the background every KNOCK_BACKGROUND_S."""
KNOCK_BACKGROUND_S: Final = 600.0
ENVELOPE_KEY_LIFE_S: Final = 24 * 3600
ENVELOPE_KEY_KEPT_S: Final = 48 * 3600
INBOX_MESSAGES: Final = 32
INBOX_LIFE_S: Final = 24 * 3600
SIGNALING_FRAME_BYTES: Final = 128 * KIB
SIGNALING_CLIENT_FRAME_BYTES: Final = 8 * KIB
SIGNALING_CURSOR_BYTES: Final = 64
PAGE_LISTINGS: Final = 50
BROWSE_PER_SERVER: Final = 2000
BROWSE_ALL_PER_SERVER: Final = 20_000
"""With `--all`: what one server may make a viewer hold."""
BROWSE_SOFT_S: Final = 2.0
SERVERS: Final = 16
SERVER_URL_CHARS: Final = 256
SERVER_CONNECT_S: Final = 5.0
SERVER_HANDSHAKE_S: Final = 5.0
"""What a socket at the server may take to become a WebSocket (slow loris)."""
SERVER_LISTINGS: Final = 200_000
SERVER_INBOXES: Final = 400_000
SERVER_STORED_MESSAGES: Final = 65536
"""Knocks and replies waiting in all inboxes together: 256 MiB."""
SERVER_MESSAGES_PER_S: Final = 20.0
SERVER_MESSAGES_BURST: Final = 100
SERVER_CONNECTIONS: Final = 60_000
SERVER_CONNECTIONS_PER_ADDRESS: Final = 512
SERVER_INBOX_SILENCE_S: Final = 30.0
"""A socket that says nothing useful for this long after opening is closed."""
SERVER_REFUSALS: Final = 64
"""Refused messages that one connection may send before it is closed."""
SERVER_SWEEP_S: Final = 5.0
"""How often what has expired is thrown out."""
SERVER_CLOSE_S: Final = 2.0
RECONNECT_BASE_S: Final = 0.5
RECONNECT_SOON_S: Final = 8.0
RECONNECT_SOON_TRIES: Final = 12
"""Pauses grow to 8 s and stay there for about 40 s: a server that is being restarted is back by then, and an offer
should be, too. After that they grow on."""
RECONNECT_MAX_S: Final = 60.0
"""Longest pause between two tries at a server, with full jitter."""
RECONNECT_SETTLED_S: Final = 10.0
"""A connection that held this long starts the backoff from the beginning."""

# --- host (DESIGN 5)
LOCK_DEFAULT_S: Final = 30 * 86400
TERM_DEFAULT_S: Final = 365 * 86400
FREE_DISK_FLOOR_BYTES: Final = 1 * GIB
STORAGE_MIN_BYTES: Final = 64 * MIB
"""Smallest slot, and smallest wish: packs are up to 16 MiB and four are under way at once, so less is full at once."""
PACKS_PER_GIB: Final = 4096
"""Blob-count quota: no agreement fills the catalogue with minimal packs."""
AGREEMENT_PACKS_MIN: Final = 64
"""Packs that even the smallest agreement may hold."""
AGREEMENTS_PER_OWNER: Final = 16
"""No owner fills the host's folder of agreements; as many as fit into one Hello."""
AGREEMENT_REVISIONS: Final = 4096
"""Length of one agreement's chain: each revision is a file."""
PREMISES_NOTES: Final = 32
"""Things about its store that a host tells its person in `status`."""
PACKS_RECEIVED_AT_ONCE: Final = 64
"""Over all owners: a temporary file, its room and up to a MiB of memory each."""
PACKS_READ_AT_ONCE: Final = 128
"""Over all owners: an open file and up to a MiB of memory each."""
PLACE_WAIT_S: Final = 5.0
"""How long a request waits for such a place before it is refused: well below REPLY_S."""
NEWCOMERS_PERMILLE: Final = 500
"""The part of these places that owners with nothing stored here may hold: identities cost nothing."""
KNOWN_OWNER_BYTES: Final = PACK_MIN_BYTES
"""What an owner must have stored here to be no newcomer: one pack, the smallest there is."""
UNASKED_AGREEMENTS: Final = 256
"""Agreements, promised ones included, that `--accept all` or `trusted` makes without a person: each is a folder."""
PENDING_REQUESTS: Final = 64
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

# --- control and agent
CONTROL_BODY_BYTES: Final = 1 * MIB
CONTROL_LINE_BYTES: Final = 4 * MIB
"""Longest event line that a client reads."""
SOCKET_PATH_BYTES: Final = 107
HOME_LOOK_S: Final = 5.0
"""How often the agent looks whether its home is still there: one stat each time."""
OPEN_FILES: Final = 65536
"""Descriptors that an agent asks the system for; many start programs with 1,024."""
ANCHOR_BYTES: Final = 64 * KIB
"""What is read of the second copy of settings: four values, the longest of them a list of servers."""
AGENT_START_S: Final = 15.0
AGENT_REASON_BYTES: Final = 16 * KIB
"""What a command reads of why an agent can't run; a pipe takes as much at once."""
AGENT_PING_S: Final = 5.0
"""An agent that is there but doesn't answer for this long is stuck."""
AGENT_STOP_S: Final = 60.0
"""What an agent may take to park its jobs and end."""
CONNECT_WAIT_S: Final = 60.0
PACKS_IN_FLIGHT: Final = 4
"""Sealed packs waiting for a host's acknowledgement; 16 MiB each, so this is the upload memory."""
FETCH_AHEAD_PACKS: Final = 4
"""Packs that a restore fetches and has written side by side: some on their way while workers have the others."""
FETCH_CACHE_BYTES: Final = 2 * PACK_TARGET_BYTES
"""Verified packs kept during a restore: those that one window ends in and the next begins in."""
SWITCH_INTERVAL_S: Final = 0.0005
"""GIL hand-over. With the default 5 ms a thread that hashes 16 KiB leaves beside a busy one falls from 3,600 to
15 MiB/s, because each release of the GIL waits a whole interval to get it back; at 0.5 ms it keeps 1,690 (measured)."""
COLLECT_AFTER_OBJECTS: Final = 100_000
"""Objects made and not freed before the interpreter looks for garbage in circles; its default is 700."""
FAILED_LATELY_S: Final = 60.0
"""A host that failed this recently is asked last when others hold the same pack."""
HERALD_FIRST_S: Final = 3.0
"""How soon a person is told that a peer does not answer."""
HERALD_S: Final = 20.0
"""How often a person is told again that the same peer is being waited for."""

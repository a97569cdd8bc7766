"""Limits of statements, wire, transport and signaling (DESIGN 3, 6, 7). See `limits`."""

from typing import Final

from backuppeer.limits.units import GIB, KIB, MIB

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
DIAL_AGAIN_S: Final = 2.0
"""How long a peer that says it has a session with us is waited for to be right, before it is dialled again."""
LEAVING_LEAST_S: Final = 2.0
"""How long a session that another one replaced is served on in any case: what was asked upon it may be under way."""
LEAVING_MOST_S: Final = 120.0
"""And how long for what is under way: a pack at a Mbit/s."""
LEAVING_DRAIN_S: Final = 0.25
"""After which what came from a peer, before it seemed to have lost a session, has been read."""
LEAVING_LOOK_S: Final = 0.05
"""Between two looks whether it says something upon that session, within LEAVING_LEAST_S."""
HEARTBEAT_S: Final = 5.0
DEAD_AFTER_S: Final = 15.0
CONTROL_STALL_S: Final = 10.0
"""A peer whose control stream takes nothing for this long is given up; what is said there are a few bytes."""
IDLE_CLOSE_S: Final = 600.0
REQUEST_STREAMS: Final = 8
"""Request streams at once that one session may hold open at us."""
OPEN_SESSIONS: Final = 512
"""Sessions at once: a hundred KiB each. Beyond, who has packs here comes in, in place of who has not."""
SESSIONS_PER_PEER: Final = 8
"""Sessions of one peer that dials, those that end included: of a machine whose line breaks every few seconds."""
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
TERMS_PAGE: Final = 16
"""Revisions of an agreement in one message: 66 KiB of the largest ones."""
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
LANE_WAIT_S: Final = 0.3
"""How long a bulk request waits for a lane that is being made or in use, before it goes over QUIC."""
LANE_WAIT_TRIPS: Final = 16
"""And for so many round trips from the wish for a first lane on, within LANE_DIAL_S: what it takes to make one. Once
there is one, for LANES_PER_SESSION times as long: they are made one after another, and on a full line QUIC gets next to
nothing beside them."""
LANE_END_S: Final = 5.0
"""How long a call on a lane that was given up is waited for: it ends at once, unless a disk holds it."""
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
BANDWIDTH_LEAST_BYTES_PER_S: Final = 250_000
"""The lowest cap: three hosts at once are no laggards yet (LAGGARD_BYTES), and fourteen transfers within BULK_STALL_S,
which the other side goes by, too."""
BANDWIDTH_MOST_BYTES_PER_S: Final = 10**12
"""The highest: more is a slip of the pen."""
BANDWIDTH_LOOK_S: Final = 1.0
"""How soon a changed cap holds for what is under way."""
LAGGARD_S: Final = 60.0
"""A host that takes less than LAGGARD_BYTES in this time, while all others of a backup wait for it, is left behind."""
LAGGARD_BYTES: Final = 4 * MIB
"""70 KiB/s, half a megabit: slower lines are served by a backup to that host alone, which nobody else waits for."""
RETRY_BUDGET_S: Final = 90.0
"""How long a network step goes on retrying before it tells the person (backoff with full jitter)."""
MEET_LEAST_S: Final = 1.0
"""What meeting a host may take however short a person's wait, so that one that is there and says why not is heard."""
SILENT_LEAST_S: Final = 3.0
"""For how long at least nothing may come from a host in session, however short a person's wait: a disk spins up."""
SOUND_AFTER_S: Final = 1.0
"""How long one host is listened to alone before the others that have the same pack are asked beside it."""
RETRY_FIRST_S: Final = 0.5
RETRY_MOST_S: Final = 15.0
WITNESS_S: Final = 5.0
"""How long the newest head of a host is waited for that a backup does not go to, or that a restore may do without: long
enough for one that is there."""
HEAD_RETRY_S: Final = 30.0
"""How long a host whose session broke is asked for its head again: it may have started anew."""
HEAR_S: Final = 60.0
"""How long one host may take to be reached and to show its head; hosts are heard side by side."""
AMEND_COPY_BYTES: Final = 64 * MIB
"""Copied at most to a host that lacks packs, before it gets the head of a `forget` or `tag`: seconds, not hours."""
REBUILD_AT_ONCE: Final = 8
"""Directories read side by side while an index is rebuilt."""
REBUILD_BATCH: Final = 256
"""Packs asked for before what was read of them is all noted; so many are read again by whoever was killed."""
REBUILD_ENTRIES: Final = 16_384
"""Entries of directories that are written into the index in one transaction meanwhile; about 4 MiB wait in memory."""
LEAVE_HEAD_S: Final = 60.0
LEAVE_EACH_HEAD_S: Final = 2.0
"""What a host may take to get the newest head, in all, and for each of those that it missed."""
RECOVER_REST_S: Final = 30.0
"""How long a recovery reads on what the others hold once one has told all: who is slow is read when needed."""
CLEAR_S: Final = 600.0
"""What a host may take in all to be told which packs go: hundreds of requests after a large prune."""
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
STAMP_BITS: Final = 16
"""Work for a new key, unless an operator sets another: 8 puzzles of 2^16 trials of 4.5 µs, 2.4 s of one core."""
STAMP_BITS_MOST: Final = 20
"""What a publisher does at most: a server that asks for more is not for us. 16 times the usual."""
KNOCK_BITS_MOST: Final = 17
"""What anybody works at most to be heard by a flooded server: 4.7 s of one core, on an old laptop three times that."""
KNOCK_WORK_S: Final = 25.0
"""And for how long: a server closes a socket that says nothing for 30 s."""
STAMP_THREADS: Final = 2
"""For all servers together: whoever offers space has work of others to do."""
STAMP_S: Final = 120.0
"""How long a publication waits for stamps where no server took it without: the most that is done, on a slow core."""
KEY_REMEMBERED_DAYS: Final = 30
SERVER_SEEN_KEYS: Final = 400_000
"""Keys that a server remembers: some 50 MB, twice the listings."""
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
OUTDATED_GRACE_S: Final = 150
"""How long an honest server may hand out a listing when a newer one is known: it drops the old one LISTING_GRACE_S
after its publisher left, and a dead publisher is found out within 40 s."""
LAGGING_PEERS: Final = 64
"""Hosts of one server whose older listings are remembered; one would do to tell that it lags."""
HEALTH_SERVERS: Final = 64
"""Servers whose health is remembered: those in use, 16 at most, and some that were."""
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
KNOCK_ANSWER_S: Final = 0.1
"""What a host takes for each answer to a knock, so that no server tells a yes by the time; they take 5 to 30 ms."""
KNOCK_REPLIES: Final = 8
"""Replies of one host on their way to servers at once; each has a socket of its own."""
KNOCK_NEXT_S: Final = 2.5
"""After so long without a reply the same knock goes to the next server, too: the first may have dropped it."""
DEPOSIT_S: Final = 2.5
"""What one server may take for a message, dialling included, before the next is tried."""
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
VERIFIED_LISTINGS: Final = 20_000
"""Listings whose signature a viewer does not verify again: all that one server hands out with `--all`, in 3 MiB."""
BROWSE_SLICE_ROWS: Final = 50
"""Hosts scored in one go, 10 ms; then whatever else the agent has to do has its turn. As many as a page has."""
BROWSE_SOFT_S: Final = 1.75
"""Of the two seconds that a person waits at most for servers that hang, the command itself takes the rest (ADR 80)."""
BROWSE_TELL_S: Final = 0.1
"""Rows that came are told after so long, where a server is still silent: what a person sees within half a second."""
BROWSE_PATIENT_S: Final = 30.0
"""How long all rows of a server are waited for: 20,000 take 2 s of verification, and 40 MB of a slow line."""
INBOX_HEARD: Final = 256
"""Messages of one inbox that are heard of one server at once: twice what an honest one hands on."""
INBOX_HEARD_PER_S: Final = 4.0
SERVERS: Final = 16
SERVER_URL_CHARS: Final = 256
SERVER_CONNECT_S: Final = 5.0
HEALTH_BYTES: Final = 4 * KIB
"""Of a server's answer at `/health`: a few headers."""
SERVER_STEP_S: Final = 1.5
"""How long each step towards a server that did not work is tried again, to say which is the broken one."""
SERVER_HANDSHAKE_S: Final = 5.0
"""What a socket at the server may take to become a WebSocket (slow loris)."""
SERVER_PING_S: Final = 20.0
"""Each connection is pinged so often, and closed at the next ping when it did not answer the last."""
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

"""Limits of the engine: files, backup and restore. See `limits`."""

from typing import Final

from backuppeer.limits.units import KIB, MIB

ENGINE_WORKERS: Final = 2
"""Threads that read, hash and compress; more only fight for the interpreter's lock on two cores."""
READ_WORKERS: Final = 4
"""Worker processes of one backup at most; the agent, which walks and packs, keeps up with no more."""
READ_ALONE_BATCHES: Final = 32
"""Batches that threads read before processes are started, which costs 0.2 s of processor time each."""
SMALL_FILE_BYTES: Final = 4 * MIB
"""Files up to this are read whole by a worker; larger ones are streamed in segments."""
SEGMENT_BYTES: Final = 4 * MIB
"""A piece of a large file under way: one longest chunk."""
SEGMENTS_UNDER_WAY: Final = 3
SEGMENTS: Final = 10
"""Segments at once, each with room for a chunk carried over: three under way, six in the pack that fills, one more."""
SEGMENT_LENT_PERMILLE: Final = 750
"""A segment of which at least so much does not shrink is lent to its pack; of another such chunks are copied.

So a pack of 16 MiB can hold no more than six of them."""
BATCH_FILES: Final = 128
"""Small files handed to a worker at once, so that the hand-over is paid once for all of them."""
BATCH_BYTES: Final = 2 * MIB
BATCH_DIRECTORIES: Final = 32
"""Directories whose nodes are encoded in one go."""
BATCHES_IN_FLIGHT: Final = 8
"""Batches under way: keeps the workers busy and the memory small."""
READ_PIECE_BYTES: Final = 256 * KIB
"""What is read from a transport stream at a time (FACTS: 64 to 256 KiB)."""
GATHER_BYTES: Final = READ_PIECE_BYTES
GATHER_S: Final = 0.004
"""After a shorter read of a long transfer the stream is empty: the next one waits a moment, so that more has come. The
window of a stream (1.25 MB) holds what comes meanwhile up to 300 MB/s. Ten milliseconds gain nothing, and cost 5 % of
the time on a quiet machine."""
WRITE_PIECE_BYTES: Final = 1 * MIB
"""What is handed to a transport stream at a time."""
SMALL_PACK_BYTES: Final = 4 * MIB
"""Packs up to this are joined by `prune --repack-small`: a quarter of a full one."""
PRUNE_UNUSED_PERMILLE: Final = 50
"""Waste that a prune leaves beside what is needed, unless told otherwise: as restic does."""
RESTORE_WINDOW_BLOBS: Final = 30720
"""Blobs wanted by the files of one window; two windows are under way, some 19 MiB of plan each. Large, because equal
files far apart want the same packs: with 24,576 a tree of interpreters fetched its packs 1.7 times, with 49,152 1.4."""
RESTORE_WINDOW_BYTES: Final = 1280 * MIB
"""Plain bytes of those files: far enough ahead that packs are fetched once, without holding the bytes."""
RESTORE_FIRST_BLOBS: Final = 1024
"""Blobs of the first window: files come before the walk is far; a restore with more than these starts workers."""
RESTORE_OPEN_FILES: Final = 240
"""Files of several chunks in one window: what one message to a worker may bring (WORKER_DESCRIPTORS)."""
PAGES_KEPT: Final = 8
"""Buffers for packs that a restore uses again and again, 16 MiB each: as many as are under way, and those kept."""
PAGES_KEPT_FEW: Final = 2
"""The same of a check or a mount."""
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
LOOK_ENTRIES: Final = 1024
"""Entries of a directory that a look is kept of: a larger one has several tree pieces, and few have."""
KNOWN_BATCH: Final = 1024
"""Blob ids that the restorer looks up at once."""
TREE_BATCH: Final = 64
PARTIAL_FILES: Final = 2048
"""Files read before what is finished is written down, for the case that the backup breaks off: 1 ms each time."""
PARTIAL_BYTES: Final = 32 * MIB
"""The same in bytes of files: two packs; so little is read again after a kill, and hardly any of it sent."""
PARENT_GRAFTS: Final = 1024
"""Paths that another snapshot than the parent knows better; each costs a way down its tree."""
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
"""Entries of one `ls` answer: it is held in memory on both sides. And of `find --json`."""
FIND_REMEMBERED: Final = 200_000
"""Matches and directories that `find` remembers from one snapshot to the next: some 80 MB."""
STREAM_NAME_BYTES: Final = 255
"""Longest component of `--stdin-name`: NAME_MAX of the usual file systems, else nobody could restore it."""
PRIORITY_PATTERNS: Final = 64
"""`--priority` in one backup; each new or changed file is compared with them one after the other."""
PRIORITY_FILES: Final = 100_000
"""Files read before all others: their entries are remembered until the walk meets them, some 60 MB."""
NAME_UNITS: Final = 255
"""Longest name of an entry: bytes of UTF-8 on macOS, units of UTF-16 on Windows; Linux says so itself."""
HOLE_BYTES: Final = 4 * KIB
"""Zeros left out of a restored file that had holes, from a multiple of it on: the block of most file systems."""
IGNORE_FILE_BYTES: Final = 1 * MIB
IGNORE_LINE_CHARS: Final = 4096
"""Longest pattern in a `.backupignore`: PATH_MAX; each becomes a regular expression."""
IGNORE_RULES_AT_ONCE: Final = 256
"""Patterns in one regular expression: with 50,000 in one a name takes seconds, as its groups are set back each time."""
MARKER_BYTES: Final = 4 * KIB
"""What is read of a file that marks a folder, to compare its beginning."""
PATH_LIST_BYTES: Final = 64 * MIB
"""A list of paths for `--files-from`."""

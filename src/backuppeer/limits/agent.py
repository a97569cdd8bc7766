"""Limits of the agent, its door and its jobs. See `limits`."""

from typing import Final

from backuppeer.limits.format import PACK_TARGET_BYTES
from backuppeer.limits.units import GIB, KIB, MIB

MOVE_WAIT_S: Final = 10.0
"""How long a move of the store waits for what owners have begun, and then again when their sessions were ended."""
CONTROL_BODY_BYTES: Final = 1 * MIB
TYPED_CHARS: Final = 64 * KIB
"""Longest value of an option, or argument, of the command line: no path and no pattern that is meant is as long."""
CONTROL_LINE_BYTES: Final = 4 * MIB
"""Longest event line that a client reads."""
CONTROL_PIECE_BYTES: Final = 1 * MIB
"""Longest piece of bytes of a bulk route: what goes through at a time, and what a client has to hold."""
INFLOW_PIECES: Final = 4
"""Pieces of a stream (CONTROL_PIECE_BYTES) that a command may send ahead of the archiver: 4 MiB, a segment of it."""
SOCKET_PATH_BYTES: Final = 107
HOME_LOOK_S: Final = 5.0
"""How often the agent looks whether its home is still there: one stat each time."""
OPEN_FILES: Final = 65536
"""Descriptors that an agent asks the system for; many start programs with 1,024."""
ANCHOR_BYTES: Final = 64 * KIB
"""What is read of the second copy of settings: four values, the longest of them a list of servers."""
AGENT_START_S: Final = 30.0
"""One that has ended is noticed at once; a slow machine that is busy took more than 15 s (ADR 92)."""
AGENT_REASON_BYTES: Final = 16 * KIB
"""What a command reads of why an agent can't run; a pipe takes as much at once."""
COMPLETION_S: Final = 1.0
"""Who presses Tab waits no longer for what the agent lists."""
AGENT_PING_S: Final = 5.0
"""An agent that is there but doesn't answer for this long is stuck."""
AGENT_STOP_S: Final = 60.0
"""What an agent may take to park its jobs and end."""
CONNECT_WAIT_S: Final = 60.0
PACKS_IN_FLIGHT: Final = 3
"""Sealed packs waiting for a host's acknowledgement; 16 MiB each, so this is the upload memory."""
PART_KEPT_S: Final = 120.0
"""How long what came of a pack that was cut is kept: its owner goes on trying for RETRY_BUDGET_S."""
PART_AWAITED_S: Final = 5.0
"""How long the try before is given to end when the same pack comes again; less than an owner waits for an answer."""
PARTS_PER_AGREEMENT: Final = 4
"""Such packs of one agreement; an owner has PACKS_IN_FLIGHT under way."""
PARTS: Final = 32
"""Of all: 512 MiB at most, half of the disk space that always stays free."""
REFUSED_GRACE_S: Final = 10.0
"""What packs that are under way get to become durable when a host refused one: 48 MiB at 5 MiB/s."""
FETCH_AHEAD_PACKS: Final = 4
"""Packs that a restore fetches and has written side by side: some on their way while workers have the others."""
PACE_KEEP: Final = 0.8
"""How much of what a host delivered before counts beside its next answer: a handful of packs say how fast it is."""
PACE_LEAST_S: Final = 0.0001
"""The shortest time that an answer is taken to need: one that was there at once is no proof of an endless rate."""
PACE_PATIENCE_S: Final = 10.0
"""What a range of a pack may take at least before another host that has it is asked in its place."""
PACE_PATIENCE_TIMES: Final = 4
"""How many times longer than the other host would take: one that is twice as slow still helps."""
PACE_AGAIN_S: Final = 300.0
"""After how long a host that was not asked is tried again before those that are known to be fast."""
FETCH_CACHE_BYTES: Final = 2 * PACK_TARGET_BYTES
"""Verified packs kept during a restore: those that one window ends in and the next begins in."""
SWITCH_INTERVAL_S: Final = 0.0005
"""GIL hand-over. With the default 5 ms a thread that hashes 16 KiB leaves beside a busy one falls from 3,600 to
15 MiB/s, because each release of the GIL waits a whole interval to get it back; at 0.5 ms it keeps 1,690 (measured)."""
COLLECT_AFTER_OBJECTS: Final = 100_000
"""Objects made and not freed before the interpreter looks for garbage in circles; its default is 700."""
FAILED_LATELY_S: Final = 60.0
"""A host that failed this recently is asked last when others hold the same pack."""
PAUSE_GRACE_S: Final = 10.0
"""What is under way when a job is paused gets to end by itself: then it is broken off, and is sent or read again."""
JOBS_AT_ONCE: Final = 32
"""Jobs that run or are paused in one agent: each may hold threads and buffers."""
JOBS_PAUSED: Final = 4
"""Paused jobs in one agent: one that was just at a short step holds a thread of the few that all else shares."""
JOBS_KEPT: Final = 20
"""Jobs that have ended and are still shown."""
JOB_WATCHERS: Final = 16
"""Terminals that may follow one job beside its own."""
JOB_BACKLOG: Final = 256
"""Events that wait for a terminal which follows a job and does not read; older ones are left out and counted."""
JOB_NAME_CHARS: Final = 200
"""Longest text that says what a job is of."""
AWAY_NAMED: Final = 5
"""Files that a command names one by one while their host is away: the others want for the same."""
HERALD_FIRST_S: Final = 3.0
"""How soon a person is told that a peer does not answer."""
HERALD_S: Final = 20.0
"""How often a person is told again that the same peer is being waited for."""
SIGNAL_NUDGE_S: Final = 0.05
"""How often a command that was sent a signal is woken until it looks at it: soon enough for who pressed Ctrl-C."""
COMMAND_END_S: Final = 5.0
"""What the command of `--stdin-from-command` gets to end by itself when its output is wanted no more."""
BACKUP_SETS: Final = 256
"""Sets in the settings of one home."""
SCHEDULE_LEAST_S: Final = 900
"""The shortest time between two runs of a set: a backup of unchanged files costs each host 256 KiB."""
SERVICE_LOOK_S: Final = 5.0
"""How often a service that waits for another agent's end looks whether it has come."""
SERVICE_COMMAND_S: Final = 30.0
"""What the system may take to start or end a service."""
EDIT_KEPT_S: Final = 86_400.0
"""How old a copy of the settings that an editor has open gets before it counts as left by a command that was killed."""
LOG_FILE_BYTES: Final = 2 * 1024 * 1024
LOG_FILES: Final = 5
"""The agent's log: how large a file grows, and how many full ones are kept beside it; the oldest goes."""
LOG_LOOK_S: Final = 0.25
"""How often `logs -f` looks for new lines."""
LOG_LINES_SHOWN: Final = 10_000
"""Of the agent's log, at once."""
SCHEDULE_LOOK_S: Final = 30.0
"""How often is looked whether a set is due: a time of day is kept to the minute."""
SCHEDULE_JITTER_S: Final = 900.0
"""Longest random while between the time a set is due and its start."""
SCHEDULE_RETRY_S: Final = 300.0
SCHEDULE_RETRY_MOST_S: Final = 6 * 3600.0
"""Until a backup that failed is tried again: first, and at most; in between it doubles."""
SCHEDULE_LATE_DAYS: Final = 2
"""Nothing backed up for so long, and for three times of what the schedule says, is told as late."""
PRUNE_BY_ITSELF_S: Final = 7 * 86_400
"""At least so long between two prunes that nobody asked for: each counts what all snapshots need."""
PRUNE_AGAIN_S: Final = 6 * 3600
"""Until one that failed is tried again."""
PRUNE_BY_ITSELF_BYTES: Final = 4 * GIB
"""What such a prune packs anew at most: the rest is for the next one."""
SHRUNK_TIMES: Final = 2
"""How many times more files, or bytes, than the newest a snapshot has that no rule lets go by itself."""
HOOK_S: Final = 3600.0
"""What a hook may take: a dump of a database does take its time; one that hangs must not block backups for ever."""
HOOK_PARTING_S: Final = 20.0
"""What the hook `failed` may take when the person has left, or the agent ends."""
HOOK_END_S: Final = 5.0
"""What a command that is stopped may take to end before it is killed."""
HOOK_LINES: Final = 20
"""Lines of a hook's output that are shown; the rest is counted."""
HOOK_LINE_BYTES: Final = 4 * KIB
"""Longest of these lines; longer ones are shown in parts."""
HOOK_PIECE_BYTES: Final = 64 * KIB
"""Read of a hook's output at a time: what a pipe usually holds."""
CHECK_AT_ONCE: Final = 3
"""Packs that a check reads side by side: one on its way, one being opened, one waiting; 16 MiB each."""
NONSENSE_PACKS: Final = 16
"""Packs of one host that a check asks for again when the answer was none, before the host is left out of the rest."""
REPLACE_SAMPLES_LEAST: Final = 512
"""Packs of which a host shows a leaf before it takes another's place, if there are so many: of 1 % gone it shows none
with a chance of 0.006."""
REPLACE_SAMPLE_SHARE: Final = 10
"""And one of so many packs, if that is more: 3 GiB of leaves and paths for 16 TiB."""
SAMPLES_AT_ONCE: Final = 4
"""Leaves asked for side by side: a host answers eight requests of a session at once."""
CHECK_NAMED: Final = 1000
"""Files and folders that a check names one by one; the rest is counted."""
CHECK_PROBLEMS: Final = 100
"""Sentences about what is wrong: one for each host and kind; more than these nobody reads."""
MOUNTS: Final = 16
"""Mounts of one home at once; each takes up to 130 MB in the agent."""
MOUNT_ENTRIES: Final = 32768
"""Entries of folders that a mount keeps decoded: 16 MB."""
MOUNT_BLOCKS_BYTES: Final = 48 * MIB
"""Blocks of packs that a mount keeps: those of three packs, in which files that lie together were saved together."""
MOUNT_BLOBS_BYTES: Final = 32 * MIB
"""Chunks that a mount keeps opened: what several readers are in the middle of."""
MOUNT_MAP_CHUNKS: Final = 512 * KIB
"""Chunks of files whose places a mount keeps, 40 bytes each: 20 MB for half a terabyte."""
MOUNT_READS_AT_ONCE: Final = 8
"""Threads of one mount: so many reads may wait for hosts before others wait for them."""
MOUNT_PATIENCE_S: Final = 30.0
"""How long a read through a mount waits for hosts: programs can't be told to wait, nor always be stopped meanwhile."""
MOUNT_PAUSE_S: Final = 1.0
"""Between two tries at a host that a read waits for."""
MOUNT_GONE_S: Final = 10.0
"""How long further reads fail at once after one waited in vain: a thousand files must not wait each."""
MOUNT_LISTED_BYTES: Final = 64 * MIB
"""Folders that the command of a mount keeps: names and metadata, 600 bytes an entry."""
MOUNT_ENTRY_BYTES: Final = 600
"""What one entry of them takes, beside its texts."""
MOUNT_WINDOWS_BYTES: Final = 32 * MIB
"""Bytes of files that it keeps, in pieces of CONTROL_PIECE_BYTES."""
MOUNT_THREADS: Final = 16
"""Questions of the kernel that are answered at once: those that wait for a host must leave some for the others."""
MOUNT_AHEAD: Final = 3
"""Pieces that it asks for ahead of a program that reads on and on."""
MOUNT_FETCHES: Final = 8
"""Requests for pieces that it has under way at once."""
MOUNT_SMALL_BYTES: Final = 64 * KIB
"""Files up to this are asked for together with those that come next in their folder."""
MOUNT_SMALL_FILES: Final = 128
"""So many at once, of 1 MiB together: a request costs 2 ms, and blocks that they share are fetched once."""
MOUNT_FOLDERS: Final = 128
"""Folders that are listed at once: that wanted, and some of those that come next beside it."""
MOUNT_FOLDERS_ENTRIES: Final = 4096
"""Entries after which no further one of them is."""
MOUNT_LIST_S: Final = 5.0
"""How old the list of snapshots in a mount may be."""
MOUNT_KERNEL_S: Final = 60
"""How long the kernel goes by what it was told of a name: snapshots don't change, but they may be forgotten."""
MOUNT_NAME_BYTES: Final = 1024
"""Longest name that the kernel takes from a file system of this kind (FUSE_NAME_MAX)."""
MOUNT_TOLD: Final = 4096
"""Files that the command of a mount remembers to have named as failed, to name each once."""
MOUNT_ANSWER_S: Final = 120.0
"""How long the command of a mount waits for an agent that says nothing: longer than that waits for hosts."""
MOUNT_END_S: Final = 10.0
"""What reads under way may take to end when a mount does, before it is taken away under them."""

# --- secrets in files
PASSPHRASE_LEAST_CHARS: Final = 8
PASSPHRASE_CHARS: Final = 1024
PASSPHRASE_BYTES: Final = 16 * KIB
"""So many characters, each of four bytes at most, and more of them after normalising: below what a pipe takes."""
PASSPHRASE_MEMORY_KIB: Final = 256 * 1024
"""What one guess costs, with the next two: four times the memory of RFC 9106's second choice, 0.4 s of a laptop."""
PASSPHRASE_PASSES: Final = 3
PASSPHRASE_LANES: Final = 4
STRETCH_MEMORY_KIB: Final = 1024 * 1024
"""What a file may ask for at most, with the next two: a later program may take more than this one does."""
STRETCH_PASSES: Final = 16
STRETCH_LANES: Final = 16
PASSPHRASE_COMMAND_S: Final = 120.0
"""How long the command that says the passphrase may take: it may ask a person."""
EXPORT_BYTES: Final = 64 * MIB
"""Longest file of an exported home: names, agreements and settings, a few KiB for each host."""
KIT_DUE_S: Final = 365 * 86_400
"""After so long a person is reminded of the recovery kit: hosts come and go, and paper gets lost."""
SELF_SET_DAYS: Final = 90
"""Days of evidence that a snapshot carries along: a dozen bytes for each kind of each day of each host."""
SELF_SET_PEERS: Final = 256
"""Peers that a snapshot carries along, hosts first: 150 bytes each."""
SELF_SET_AHEAD_DAYS: Final = 2
"""How far ahead of now a day in it may be: clocks differ, and what never gets old must not come back."""
SELF_SET_DAY_BYTES: Final = 2**50
"""Bytes moved in one day that are believed of it: a petabyte, so that sums stay small."""

"""Limits of the agent, its door and its jobs. See `limits`."""

from typing import Final

from backuppeer.limits.format import PACK_TARGET_BYTES
from backuppeer.limits.units import KIB, MIB

CONTROL_BODY_BYTES: Final = 1 * MIB
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
AGENT_START_S: Final = 15.0
AGENT_REASON_BYTES: Final = 16 * KIB
"""What a command reads of why an agent can't run; a pipe takes as much at once."""
AGENT_PING_S: Final = 5.0
"""An agent that is there but doesn't answer for this long is stuck."""
AGENT_STOP_S: Final = 60.0
"""What an agent may take to park its jobs and end."""
CONNECT_WAIT_S: Final = 60.0
PACKS_IN_FLIGHT: Final = 3
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
COMMAND_END_S: Final = 5.0
"""What the command of `--stdin-from-command` gets to end by itself when its output is wanted no more."""
BACKUP_SETS: Final = 256
"""Sets in the settings of one home."""
SCHEDULE_LEAST_S: Final = 900
"""The shortest time between two runs of a set: a backup of unchanged files costs each host 256 KiB."""
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
CHECK_NAMED: Final = 1000
"""Files and folders that a check names one by one; the rest is counted."""
CHECK_PROBLEMS: Final = 100
"""Sentences about what is wrong: one for each host and kind; more than these nobody reads."""

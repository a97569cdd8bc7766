"""What `status` says of backups that the agent makes by itself."""

import msgspec


class ScheduledSet(msgspec.Struct, kw_only=True):
    """A set that the agent backs up by itself: when it does next, when a snapshot was made last, and what went wrong.

    running: since when it is backed up now. failed, failure: of the last try, empty if it went well; failures, code:
    how often in a row it failed, and the exit code of the last. late: nothing was backed up for far longer than it
    should. waiting: why it is due and not begun, in words. idle: why it is never begun as things are; next says
    nothing then. window: hours of the day in which it begins, as the settings
    say. forgot: so many snapshots went by the set's rules, at forgot_time. kept_why: why none went after the last
    backup.
    """

    set: str
    next: str
    last: str = ""
    failed: str = ""
    failure: str = ""
    late: bool = False
    running: str = ""
    window: str = ""
    forgot: int = 0
    forgot_time: str = ""
    kept_why: str = ""
    failures: int = 0
    code: int = 0
    waiting: str = ""
    idle: str = ""


class Pruned(msgspec.Struct, kw_only=True):
    """The last prune that nobody asked for: when, and what hosts erase for it. failed, failure: of a try since."""

    time: str = ""
    freed_bytes: int = 0
    failed: str = ""
    failure: str = ""


class OverdueSet(msgspec.Struct, kw_only=True):
    """A set that was not backed up for longer than `notify.after`: an alarm. set: "" = snapshots of no set.

    last: when it was backed up last, "" = never. days: for how many.
    """

    set: str
    days: int
    last: str = ""

"""What `status` says of backups that the agent makes by itself."""

import msgspec


class ScheduledSet(msgspec.Struct, kw_only=True):
    """A set that the agent backs up by itself: when it does next, when a snapshot was made last, and what went wrong.

    running: since when it is backed up now. failed, failure: of the last try, empty if it went well. late: nothing was
    backed up for far longer than it should.
    """

    set: str
    next: str
    last: str = ""
    failed: str = ""
    failure: str = ""
    late: bool = False
    running: str = ""

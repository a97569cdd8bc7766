"""What a backup has counted.

Knows: numbers. Must not know: how they come about.
"""


class Tally:
    """Counts of one walk. `roots`: wanted directories that could be listed, and wanted symlinks."""

    __slots__ = ("bytes", "dirs", "errors", "files", "read_bytes", "roots", "skipped", "unchanged")

    def __init__(self) -> None:
        self.files = self.dirs = self.bytes = self.unchanged = self.errors = self.skipped = self.roots = 0
        self.read_bytes = 0

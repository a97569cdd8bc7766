"""Which mounted file systems below a wanted path a backup enters.

Knows: virtual file systems, `--one-file-system`. Must not know: the walk.
"""

from backuppeer.files.scan import Found, find_virtual_mounts, read_mount_table


class Mounts:
    """The mount points of this machine as they are now."""

    def __init__(self, *, one_file_system: bool) -> None:
        self._virtual = find_virtual_mounts(read_mount_table())
        self._one_file_system = one_file_system

    def why_left_out(self, path: bytes, found: Found, above: Found) -> str:
        """Return why a directory stays empty, or "" if it is entered; `above`: the directory that it is in."""
        if found.device == above.device:
            return ""
        if path in self._virtual:
            return "not files but the system's own state"
        return "another file system" if self._one_file_system else ""

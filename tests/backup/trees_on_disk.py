"""What lies in a directory, as comparable values."""

import os
import stat
from pathlib import Path


def describe(root):
    """Return {relative path: (kind, content or target, mode, mtime_ns, uid, gid)} of everything below root."""
    found = {}
    for path, dirs, files in os.walk(os.fsencode(root)):
        for name in [*dirs, *files]:
            full = path + b"/" + name
            status = os.lstat(full)
            found[os.path.relpath(full, os.fsencode(root))] = (
                stat.S_IFMT(status.st_mode),
                _content(full, status),
                stat.S_IMODE(status.st_mode),
                status.st_mtime_ns,
                status.st_uid,
                status.st_gid,
            )
    return found


def _content(path, status):
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)  # noqa: PTH115 - bytes, not text
    if stat.S_ISREG(status.st_mode):
        return Path(os.fsdecode(path)).read_bytes()
    return b""

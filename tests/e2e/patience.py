"""Patience that a test cuts short in its world, where what comes after the waiting is tested, not the waiting.

The same manner as `moved_clock`: a `sitecustomize` in a folder of PYTHONPATH, which Python imports first. So all limits
are those of the program but for the few named. The waiting in full has tests of its own: `test_kill` waits for a host
that stays away as long as people do, and tests/agent/peers/test_retry.py counts the tries.
"""

from pathlib import Path

from backuppeer import limits

SHORT = {"RETRY_BUDGET_S": 8.0, "HEAR_S": 15.0}
"""Enough for a host that is there, on a machine with much to do; what is away is given up after so long."""


def shorten(folder: Path) -> Path:
    """Make `folder`, to be in the PYTHONPATH of processes that are to wait only so long for a host that is away."""
    assert all(getattr(limits, name) > short_s for name, short_s in SHORT.items())
    folder.mkdir()
    lines = [f"limits.{name} = {short_s}" for name, short_s in SHORT.items()]
    (folder / "sitecustomize.py").write_text("\n".join(["from backuppeer import limits", *lines, ""]))
    return folder

"""What agent and command line say to each other about a restore (see `api`).

Knows: request and result structs. Must not know: the agent, the terminal.
"""

from typing import Literal

import msgspec

from backuppeer.control.api import Request
from backuppeer.limits import RETRY_BUDGET_S

Overwriting = Literal["refuse", "if-changed", "if-newer", "never", "always"]


class RestoreRequest(Request):
    """`restore SNAPSHOT[:PATH] --target DIR`."""

    snapshot: str
    target: str
    path: str = ""
    """Inside of the snapshot: what is restored of it."""
    tag: str = ""
    """With `latest`: of the snapshots with this tag, and that `backed_up` (an absolute path) is a path of."""
    backed_up: str = ""
    set: str = ""
    """With `latest`: of the snapshots of this set, and this `host`."""
    host: str = ""
    overwrite: Overwriting = "refuse"
    """What becomes of what stands in the target and differs."""
    include: tuple[str, ...] = ()
    """Patterns as in .gitignore, counted from `/`: only what fits, and never what fits `exclude`."""
    exclude: tuple[str, ...] = ()
    delete: bool = False
    """Remove from restored folders what the snapshot does not have; with patterns only what they are about."""
    verify: bool = False
    """Read everything again afterwards, and compare."""
    wait_s: float | None = RETRY_BUDGET_S
    """How long hosts that are away are waited for; None: until one is back."""


class Conflict(msgspec.Struct, kw_only=True):
    """Something in the target that a restore would replace. kind: file, link, folder (which stays) or other."""

    path: str
    kind: str
    target: str = ""
    """Of a link."""


class RemovalRow(msgspec.Struct, kw_only=True):
    """Something in the target that `delete` would remove. kind: dir, or file for everything else."""

    path: str
    kind: str


class RestorePlan(msgspec.Struct, kw_only=True):
    """What a restore would do, for the person to decide on; `conflicts`: the first of `conflicts_total`.

    `files` and `bytes` would be written, the first of them to `first`; `kept` files stand there already and would be
    left. `differing`: entries that would be left though they differ, the first of them at `differing_first`.
    """

    snapshot: str
    time: str
    paths: list[str]
    conflicts: list[Conflict]
    conflicts_total: int
    files: int = 0
    bytes: int = 0
    first: list[str] = []
    kept: int = 0
    differing: int = 0
    differing_first: list[str] = []
    removals_total: int = 0
    """How many rows there were before this: what `delete` would remove."""


class RestoreResult(msgspec.Struct, kw_only=True):
    """Restored, from which snapshot (its id, time and paths); `errors` counts the `error-file` events.

    `kept`: files that stood there already and were left. `differing`: entries that were left though they differ, the
    first of them at `differing_first`. `removed`: files, folders and others that `delete` removed. `verified`: files
    that were read again and compared with the snapshot, those named as wrong among them; None = not asked for.
    """

    snapshot: str
    time: str
    paths: list[str]
    files: int
    bytes: int
    seconds: float
    errors: int
    target: str
    kept: int = 0
    differing: int = 0
    differing_first: list[str] = []
    removed: int = 0
    verified: int | None = None

"""Commands behind `mount`: a mount opened, its folders listed, its files read, its end.

Knows: request and result structs. Must not know: the agent, kernels. A mount lasts as long as its work route is open;
the others name it. Which snapshots there are the route `snapshots` tells. Paths are text with surrogate escapes.
"""

import msgspec

from backuppeer.control.api import Request


class MountRequest(Request):
    """`mount`: the snapshots named (ids, prefixes, `latest`), or all that fit; filters as in `snapshots`."""

    snapshots: list[str] = msgspec.field(default_factory=list)
    hosts: list[str] = msgspec.field(default_factory=list)
    tags: list[str] = msgspec.field(default_factory=list)
    path: str = ""
    set: str = ""


class MountOpened(msgspec.Struct, kw_only=True):
    """Data of the event `opened`: the mount's name for the other routes, and which snapshots it was opened for."""

    mount: str
    snapshots: list[str]


class MountResult(msgspec.Struct, kw_only=True):
    """It has ended. read_bytes: of files that were read through it."""

    read_bytes: int
    seconds: float


class MountFolderRequest(Request):
    """`mount/folder`: what the first of these folders of a snapshot holds, and what others do that are at hand.

    snapshot: full id. paths: absolute. Of the others the first are told, as many as cost nothing: perhaps none.
    """

    mount: str
    snapshot: str
    paths: list[str]


class MountEntry(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """An entry of a folder, with all that `lstat` tells. Times in nanoseconds since 1970; kinds as in `ls`.

    names: how many a file had, with inode and link_device the same for all of them. device: major and minor.
    sparse: it had holes. attributes: the extended ones. folder: the number of its folder in the request.
    """

    name: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int = 0
    link_device: int = 0
    names: int = 1
    device: tuple[int, int] = (0, 0)
    sparse: bool = False
    target: str = ""
    attributes: dict[str, bytes] = msgspec.field(default_factory=dict)
    folder: int = 0


class MountFolderResult(msgspec.Struct, kw_only=True):
    """So many of the folders that were asked for were told, each with all its entries."""

    folders: int


class MountReadRequest(Request, kw_only=True):
    """`mount/read`: so many bytes of a file, at most 1 MiB; fewer come at its end."""

    mount: str
    snapshot: str
    path: str
    offset: int
    length: int


class MountFilesRequest(Request):
    """`mount/files`: several small files of one snapshot whole, one behind the other, 1 MiB together."""

    mount: str
    snapshot: str
    paths: list[str]


class MountReadResult(msgspec.Struct, kw_only=True):
    """The bytes came before this."""

    bytes: int


class MountEndRequest(Request):
    """`mount/end`: reads under way fail, and the work route of the mount is done; the result is the same."""

    mount: str

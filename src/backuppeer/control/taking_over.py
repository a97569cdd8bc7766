"""Shapes of `recover --take-over`: another machine becomes the writer (control.api, ADR 35).

Knows: request and result structs. Must not know: the agent, the words; the command signs the grant itself.
"""

import msgspec

from backuppeer.control.api import Request
from backuppeer.control.recovering import RecoverResult
from backuppeer.control.saving import LeftOut


class TakeOverRequest(Request):
    """`recover --take-over`: plan it, or tell hosts of the grant that lies in the home."""


class TakeOverPlan(msgspec.Struct, kw_only=True):
    """What a person is to know before taking over.

    is_recovered: false when no host was found yet, and then nothing else is said. is_writer: this home has the highest
    grant already, and no host keeps another history beside it. repository: hex. epoch: the highest that was heard.
    host, time: of the newest snapshot, empty if there is none. heard: names of hosts. left_out: hosts not heard.
    """

    peer_id: str
    is_recovered: bool
    is_writer: bool = False
    repository: str = ""
    epoch: int = 0
    snapshots: int = 0
    host: str = ""
    time: str = ""
    heard: list[str] = msgspec.field(default_factory=list)
    left_out: list[LeftOut] = msgspec.field(default_factory=list)


class TakeOverResult(RecoverResult, kw_only=True):
    """`recover`: epoch: of the grant under which this home writes, 0 without --take-over. left_out: not told of it.

    former: who this home was before, with --new-identity; else empty. names: how
    `peers` are called here, in their order. owners: with --new-identity, names of peers whose backups are kept here and
    that are told when they are met; stuck: of those who can't follow.
    """

    epoch: int = 0
    former: str = ""
    names: list[str] = msgspec.field(default_factory=list)
    owners: list[str] = msgspec.field(default_factory=list)
    stuck: list[str] = msgspec.field(default_factory=list)
    left_out: list[LeftOut] = msgspec.field(default_factory=list)

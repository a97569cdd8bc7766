"""The JSON Schema of every verb's `--json` output, generated from the structs that are printed.

Knows: which verb prints what. Must not know: how. `python -m backuppeer.cli.schema` prints what docs/cli.schema.json
holds; a test keeps the two equal. A verb prints either one JSON value, or JSON lines: then the schema is a line's.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from backuppeer.agent.home.sets import SetRow
from backuppeer.cli.checkup.findings import Finding
from backuppeer.cli.config_edit import Edited
from backuppeer.cli.export import ExportResult
from backuppeer.cli.kit import KitMade
from backuppeer.cli.leave import Left
from backuppeer.cli.logs import LoggedLine, LogLine
from backuppeer.cli.passphrase import CustodyResult
from backuppeer.cli.servers import ListedServer
from backuppeer.cli.service import ServiceState
from backuppeer.control.amendments import ForgetPlan, ForgetResult, TagResult
from backuppeer.control.api import (
    BrowseRow,
    ConnectResult,
    EntryRow,
    HostingState,
    HostResult,
    PeerRow,
    PendingRequest,
    SnapshotRow,
    StatusResult,
)
from backuppeer.control.auditing import AuditResult, DrillResult
from backuppeer.control.blocking import BlockResult
from backuppeer.control.checking import CheckResult, RepairResult
from backuppeer.control.choosing import BestChoice
from backuppeer.control.ending import EndResult, MoveResult, RetireResult
from backuppeer.control.events import (
    Agreed,
    ErrorFile,
    ErrorResult,
    EventName,
    Fault,
    MassDeletionSeen,
    Note,
    Progress,
    State,
)
from backuppeer.control.forgiving import ForgiveResult
from backuppeer.control.inspection import DiffResult, DiffRow, DumpResult, DumpStart, FindRow, StatsResult
from backuppeer.control.inviting import CodeToSay, InviteMade, InviteRow, InviteSpoken
from backuppeer.control.jobs import JobEnded, JobRow
from backuppeer.control.mounting import MountResult
from backuppeer.control.proven import AuditRow
from backuppeer.control.pruning import PrunePlan, PruneResult
from backuppeer.control.replacing import ReplacePlan, ReplaceResult
from backuppeer.control.reporting import NotifiedPlace, Report
from backuppeer.control.reputation import OpinionRow, Reputation, ReputationRow
from backuppeer.control.restoring import RemovalRow, RestorePlan, RestoreResult
from backuppeer.control.saving import BackupResult
from backuppeer.control.sessions import DisconnectResult, SessionRow
from backuppeer.control.showing import PeerAccount
from backuppeer.control.stopping import StopResult
from backuppeer.control.taking_over import TakeOverResult
from backuppeer.control.terms import TermsResult
from backuppeer.control.undeleting import UndeletePlan, UndeleteResult
from backuppeer.control.verifying import VerifyResult
from backuppeer.control.vouching import VouchResult
from backuppeer.control.waiving import PurgeResult
from backuppeer.signaling.probe import Probe


class IdResult(msgspec.Struct, kw_only=True):
    """`id`. where: with --where alone: what `recover --peer` takes."""

    peer_id: str
    where: str = ""


class InitResult(msgspec.Struct, kw_only=True):
    """`init`: words as one string with spaces."""

    peer_id: str
    words: str


class Ready(msgspec.Struct, kw_only=True):
    """`server`: it listens."""

    listen: str


class Mounted(msgspec.Struct, kw_only=True):
    """`mount`: the snapshots can be looked into at `target`."""

    target: str
    snapshots: int


class Settings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`config list`: every setting by its key; null = not set."""

    servers: list[str] | None
    proxy: str | None
    region: str | None
    audits: str | None
    passphrase_command: str | None
    share_receipts: str | None = msgspec.field(name="trust.share_receipts")
    lan: str | None = msgspec.field(name="network.lan")
    urls: list[str] | None = msgspec.field(name="notify.urls")
    """Masked: services alone."""
    after: str | None = msgspec.field(name="notify.after")
    report: str | None = msgspec.field(name="notify.report")
    on_battery: str | None = msgspec.field(name="schedule.on_battery")
    up: str | None = msgspec.field(name="bandwidth.up")
    down: str | None = msgspec.field(name="bandwidth.down")
    host_up: str | None = msgspec.field(name="bandwidth.host_up")
    host_down: str | None = msgspec.field(name="bandwidth.host_down")
    quiet: str | None = msgspec.field(name="bandwidth.quiet")
    quiet_up: str | None = msgspec.field(name="bandwidth.quiet_up")
    quiet_down: str | None = msgspec.field(name="bandwidth.quiet_down")
    quiet_host_up: str | None = msgspec.field(name="bandwidth.quiet_host_up")
    quiet_host_down: str | None = msgspec.field(name="bandwidth.quiet_host_down")


class Setting(msgspec.Struct, kw_only=True):
    """`config get|set`."""

    key: str
    value: str | list[str] | None


class CompletionScript(msgspec.Struct, kw_only=True):
    """`completion`: what the shell is to read."""

    shell: str
    script: str


class AgentStarted(msgspec.Struct, kw_only=True):
    """`agent start`; started: false if it ran already."""

    started: bool
    pid: int
    version: str


class AgentRunning(msgspec.Struct, kw_only=True):
    """`agent run`: it, or the one that ran already."""

    pid: int
    peer_id: str


class DemoResult(msgspec.Struct, kw_only=True):
    """`demo`: what was compared, and how long all of it took."""

    files: int
    bytes: int
    seconds: float
    errors: int


class AgentStatus(msgspec.Struct, kw_only=True):
    """`agent status`; pid 0 and empty texts when none runs."""

    running: bool
    pid: int
    version: str
    peer_id: str


class ProofVerdict(msgspec.Struct, kw_only=True):
    """`audit verify-proof`: what is proven of whom; empty texts where not even that is sure; not `proven` with code 15.

    crime: wrong-answer, lost-pack, older-head, two-heads. stored: the pack. promised, broken: by the host's clock.
    ignored: what of the rebuttal doesn't hold, and why.
    """

    proven: bool
    reason: str
    crime: str
    host: str
    owner: str
    stored: str
    promised: str
    broken: str
    ignored: list[str]


class RebuttalMade(msgspec.Struct, kw_only=True):
    """`audit rebut`: what excuses this host; `file`: the answer, empty if the proof is none even without it."""

    reason: str
    file: str


VALUES: Final[dict[str, Any]] = {
    "audit": list[AuditRow],
    "audit rebut": RebuttalMade,
    "audit verify-proof": ProofVerdict,
    "id": IdResult,
    "browse": list[BrowseRow],
    "invite": list[InviteRow],
    "invite list": list[InviteRow],
    "requests": list[PendingRequest],
    "requests list": list[PendingRequest],
    "peers": list[PeerRow],
    "peers list": list[PeerRow],
    "peers show": PeerAccount,
    "reputation": list[ReputationRow],
    "reputation explain": Reputation,
    "reputation --me": list[OpinionRow],
    "sessions": list[SessionRow],
    "jobs": list[JobRow],
    "snapshots": list[SnapshotRow],
    "backup sets": list[SetRow],
    "ls": list[EntryRow],
    "find": list[FindRow],
    "stats": StatsResult,
    "status": StatusResult,
    "config get": Setting,
    "config list": Settings,
    "config servers": list[ListedServer],
    "config servers list": list[ListedServer],
    "doctor": list[Finding],
    "notify test": list[NotifiedPlace],
    "report": Report,
    "config servers test": list[Probe],
    "agent status": AgentStatus,
    "service status": ServiceState,
    "service logs": list[LogLine],
    "logs": list[LogLine],
}
"""Verbs that print one JSON value."""

_WORK: Final[dict[str, type]] = {
    EventName.PROGRESS: Progress,
    EventName.STATE: State,
    EventName.NOTE: Note,
    EventName.ERROR_FILE: ErrorFile,
    EventName.FAULT: Fault,
}
_HOST: Final[dict[str, type]] = {
    EventName.OFFERED: HostResult,
    EventName.REQUEST: PendingRequest,
    EventName.AGREED: Agreed,
    EventName.ALARM: MassDeletionSeen,
}
LINES: Final[dict[str, tuple[Any, Mapping[str, type]]]] = {
    "init": (InitResult, {}),
    "recover": (TakeOverResult, _WORK),
    "server": (None, {"ready": Ready}),
    "host": (HostResult, {**_WORK, **_HOST}),
    "host --move-store": (MoveResult, _WORK),
    "host --retire": (RetireResult, {}),
    "host --stop": (HostingState, {}),
    "leave": (Left, {}),
    "logs --follow": (None, {"line": LoggedLine}),
    "connect": (ConnectResult, {**_WORK, "proposed": BestChoice}),
    "peers set": (PeerRow, {}),
    "peers verify": (VerifyResult, {}),
    "peers undelete": (UndeleteResult, _WORK),
    "peers undelete --list": (UndeletePlan, _WORK),
    "block": (BlockResult, {}),
    "completion": (CompletionScript, {}),
    "service": (ServiceState, {}),
    "service install": (ServiceState, {}),
    "service uninstall": (ServiceState, {}),
    "unblock": (BlockResult, {}),
    "vouch": (VouchResult, {}),
    "peers forgive": (ForgiveResult, {}),
    "peers replace": (ReplaceResult, {**_WORK, "plan": ReplacePlan}),
    "peers end": (EndResult, {}),
    "peers lock": (TermsResult, _WORK),
    "peers purge": (PurgeResult, _WORK),
    "peers resize": (TermsResult, _WORK),
    "peers renew": (TermsResult, _WORK),
    "invite create": (InviteMade, {}),
    "invite create --spoken": (InviteSpoken, {**_WORK, EventName.CODE: CodeToSay}),
    "invite revoke": (InviteRow, {}),
    "requests accept": (PendingRequest, {}),
    "requests offer": (PendingRequest, {}),
    "requests reject": (PendingRequest, {}),
    "disconnect": (DisconnectResult, {}),
    "jobs attach": (JobEnded, _WORK),
    "pause": (JobRow, {}),
    "resume": (JobRow, {}),
    "cancel": (JobRow, {}),
    "backup": (BackupResult, _WORK),
    "backup add": (SetRow, {}),
    "backup remove": (SetRow, {}),
    "restore": (RestoreResult, _WORK),
    "restore --dry-run": (RestorePlan, {**_WORK, "removal": RemovalRow}),
    "forget": (ForgetResult, {**_WORK, "plan": ForgetPlan, "prune-plan": PrunePlan}),
    "prune": (PruneResult, {**_WORK, "plan": PrunePlan}),
    "tag": (TagResult, _WORK),
    "check": (CheckResult, {**_WORK, "plan": CheckResult, "repaired": RepairResult}),
    "repair": (CheckResult, {**_WORK, "plan": CheckResult, "repaired": RepairResult}),
    "audit --now": (AuditResult, _WORK),
    "audit --bulk": (AuditResult, _WORK),
    "audit --drill": (DrillResult, _WORK),
    "diff": (DiffResult, {**_WORK, "change": DiffRow}),
    "dump": (DumpResult, {**_WORK, EventName.START: DumpStart}),
    "mount": (MountResult, {**_WORK, "mounted": Mounted}),
    "config set": (Setting, {}),
    "config edit": (Edited, {}),
    "config servers add": (Setting, {}),
    "config servers remove": (Setting, {}),
    "export": (ExportResult, {}),
    "kit": (KitMade, {}),
    "import": (ExportResult, {}),
    "passphrase show": (CustodyResult, {}),
    "passphrase set": (CustodyResult, {}),
    "passphrase keyring": (CustodyResult, {}),
    "passphrase remove": (CustodyResult, {}),
    "agent start": (AgentStarted, {}),
    "agent run": (None, {"running": AgentRunning}),
    "demo": (DemoResult, {}),
    "agent stop": (StopResult, {}),
}
"""Verbs that print JSON lines: what `done` holds, and the events before it. All may end with `error` instead."""
_LINES_ABOUT: Final = "JSON lines; this is the schema of each; the last is `done` or `error`"
_ABOUT: Final = {
    "backup": f"{_LINES_ABOUT}, or `done` and then `error` (code 3) when fewer hosts than `copies` hold it",
    "check": f"{_LINES_ABOUT}, or `done` and then `error` with problems (15) or hosts not reached (3, 11)",
    "repair": f"{_LINES_ABOUT}, as of `check`",
    "audit --now": f"{_LINES_ABOUT}, or `done` and then `error` when some host (3), or none (11), could be heard",
    "dump": f"with --target FILE only: {_LINES_ABOUT}",
}

_TEMPLATE: Final = "#/$defs/{name}"


def build_schema() -> dict[str, Any]:
    """Return the document: `verbs` maps each verb to the schema of its value or of one of its lines."""
    kinds = [*VALUES.values(), ErrorResult]
    for done, events in LINES.values():
        kinds += [*([done] if done else []), *events.values()]
    schemas, definitions = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    by_kind = {repr(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    error = _line(EventName.ERROR, ErrorResult, definitions)
    verbs: dict[str, Any] = {}
    for verb, kind in VALUES.items():
        verbs[verb] = {
            "description": "one JSON value; after a failure, one error line",
            **_either(by_kind, kind, error),
        }
    for verb, (done, events) in LINES.items():
        shapes = [_line(name, kind, definitions) for name, kind in events.items()]
        last = [_line(EventName.DONE, done, definitions)] if done else []
        verbs[verb] = {"description": _ABOUT.get(verb, _LINES_ABOUT), "oneOf": [*shapes, *last, error]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "backup-peer --json",
        "verbs": dict(sorted(verbs.items())),
        "$defs": definitions,
    }


def _either(by_kind: Mapping[str, Any], kind: Any, error: dict[str, Any]) -> dict[str, Any]:
    return {"oneOf": [by_kind[repr(kind)], error]}


def _line(name: str, kind: Any, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a line: the struct's fields beside `event`."""
    struct = definitions[kind.__name__]
    return {
        "type": "object",
        "properties": {"event": {"const": str(name)}, **struct["properties"]},
        "required": ["event", *struct.get("required", [])],
    }


def render_schema() -> str:
    """Return the document as it is kept in docs/cli.schema.json."""
    return json.dumps(build_schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_schema())

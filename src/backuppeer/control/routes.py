"""The table of routes of the control API: which request goes where and what comes back.

Knows: names, the structs of `api`. Must not know: who serves a route. The OpenAPI document is generated from here.

Three kinds of route: `answer` returns one JSON value; `work` streams JSON lines (`Event`s), the last of them
`done` or `error`; `bulk` streams the same events and raw bytes between them, in frames (`frames`). A `feed` route is a
work route that takes a stream: its request body is frames, see `inflow`.
"""

from typing import Any

import msgspec

from backuppeer.control.alarms import SeenAlarms
from backuppeer.control.amendments import ForgetPlan, ForgetRequest, ForgetResult, TagRequest, TagResult
from backuppeer.control.api import (
    BrowseRequest,
    BrowseRow,
    ConnectRequest,
    ConnectResult,
    EntryRow,
    HostingState,
    HostPlan,
    HostRequest,
    HostResult,
    JobRequest,
    LsRequest,
    Nothing,
    PeerRequest,
    PeerRow,
    PeerSetting,
    PendingRequest,
    PingResult,
    Request,
    RequestDecision,
    SnapshotRow,
    SnapshotsRequest,
    StatusResult,
)
from backuppeer.control.auditing import AuditRequest, AuditResult, DrillResult
from backuppeer.control.blocking import BlockPlan, BlockRequest, BlockResult
from backuppeer.control.browsing import BrowseDone
from backuppeer.control.checking import CheckRequest, CheckResult, RepairRequest, RepairResult
from backuppeer.control.choosing import BestChoice, BestRequest, ConnectPlan, ConnectPlanRequest
from backuppeer.control.doctor import NetworkCheck, PeerCheck, PeersChecked
from backuppeer.control.ending import (
    EndPlan,
    EndRequest,
    EndResult,
    MovePlace,
    MoveRequest,
    MoveResult,
    RetirePlan,
    RetireRequest,
    RetireResult,
)
from backuppeer.control.forgiving import ForgiveResult
from backuppeer.control.history import ShowRequest
from backuppeer.control.inspection import (
    DiffRequest,
    DiffResult,
    DiffRow,
    DumpRequest,
    DumpResult,
    FindRequest,
    FindResult,
    FindRow,
    StatsRequest,
    StatsResult,
)
from backuppeer.control.inviting import (
    InviteMade,
    InviteNamed,
    InviteOpened,
    InviteRequest,
    InviteRow,
    InviteSpoken,
    InviteText,
)
from backuppeer.control.jobs import JobEnded, JobRow
from backuppeer.control.leaving import LeavePlan, LeaveRequest, LeaveResult
from backuppeer.control.mounting import (
    MountEndRequest,
    MountEntry,
    MountFilesRequest,
    MountFolderRequest,
    MountFolderResult,
    MountReadRequest,
    MountReadResult,
    MountRequest,
    MountResult,
)
from backuppeer.control.paper import KitRequest, KitResult
from backuppeer.control.proven import AuditRow
from backuppeer.control.pruning import PrunePlan, PruneRequest, PruneResult
from backuppeer.control.rebutting import KeptRemoval, RebutRequest
from backuppeer.control.recovering import Place, RecoverRequest, RecoverResult
from backuppeer.control.replacing import ReplacePlan, ReplaceRequest, ReplaceResult
from backuppeer.control.reporting import NotifiedPlace, Report
from backuppeer.control.reputation import OpinionRow, OpinionsRequest, Reputation, ReputationRequest, ReputationRow
from backuppeer.control.restoring import RemovalRow, RestorePlan, RestoreRequest, RestoreResult
from backuppeer.control.saving import BackupRequest, BackupResult, StreamRequest
from backuppeer.control.servers import ServerState
from backuppeer.control.sessions import DisconnectRequest, DisconnectResult, SessionRow
from backuppeer.control.showing import PeerAccount
from backuppeer.control.stopping import StopResult
from backuppeer.control.succeeding import SuccessionPlan, SuccessionRequest, SuccessionTold
from backuppeer.control.taking_over import TakeOverPlan, TakeOverRequest, TakeOverResult
from backuppeer.control.terms import OfferRequest, RenewRequest, ResizeRequest, TermsResult
from backuppeer.control.undeleting import UndeletePlan, UndeleteRequest, UndeleteResult
from backuppeer.control.verifying import VerifyPlan, VerifyRequest, VerifyResult
from backuppeer.control.vouching import VouchRequest, VouchResult
from backuppeer.control.waiving import LockPlan, LockRequest, PurgePlan, PurgeRequest, PurgeResult


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One command of the API: POST /v1/<name>. rows: what the `rows` events of a work route hold."""

    request: type[Request]
    result: Any
    work: bool = False
    bulk: bool = False
    feed: bool = False
    rows: Any = None
    summary: str = ""


ROUTES: dict[str, Route] = {
    "ping": Route(request=Nothing, result=PingResult, summary="who answers here"),
    "status": Route(request=Nothing, result=StatusResult, summary="state of this home"),
    "stop": Route(request=Nothing, result=StopResult, summary="park jobs and end the agent"),
    "jobs": Route(request=Nothing, result=list[JobRow], summary="what the agent is doing, and did last"),
    "jobs/attach": Route(request=JobRequest, result=JobEnded, work=True, summary="follow a job to its end"),
    "jobs/pause": Route(request=JobRequest, result=JobRow, summary="let a job read and send nothing for a while"),
    "jobs/resume": Route(request=JobRequest, result=JobRow, summary="let a paused job go on"),
    "jobs/cancel": Route(request=JobRequest, result=JobRow, summary="end a job"),
    "peers": Route(request=Nothing, result=list[PeerRow], summary="own peers"),
    "peers/deleted": Route(
        request=UndeleteRequest, result=UndeletePlan, work=True, summary="what a host holds as deleted"
    ),
    "peers/undelete": Route(
        request=UndeleteRequest, result=UndeleteResult, work=True, summary="have snapshots back, and their packs kept"
    ),
    "peers/set": Route(request=PeerSetting, result=PeerRow, summary="record what a person knows of a peer"),
    "report": Route(request=Nothing, result=Report, summary="what the last seven days brought"),
    "notify/test": Route(request=Nothing, result=list[NotifiedPlace], summary="send a trial notification"),
    "status/seen": Route(request=Nothing, result=SeenAlarms, summary="repeat the alarms that stand no more"),
    "host/move/place": Route(
        request=Nothing, result=MovePlace, summary="where the store lies after a move that was left"
    ),
    "host/move": Route(request=MoveRequest, result=MoveResult, work=True, summary="move the store to another folder"),
    "peers/lock/plan": Route(request=LockRequest, result=LockPlan, summary="what another lock would mean"),
    "peers/lock": Route(request=LockRequest, result=TermsResult, work=True, summary="have another lock in force"),
    "peers/purge/plan": Route(request=PurgeRequest, result=PurgePlan, summary="what would be erased at once"),
    "peers/purge": Route(
        request=PurgeRequest, result=PurgeResult, summary="have deleted packs, or all, erased at once"
    ),
    "peers/end/plan": Route(request=EndRequest, result=EndPlan, summary="what ending an agreement would mean"),
    "peers/end": Route(request=EndRequest, result=EndResult, summary="end an agreement with notice"),
    "peers/forgive": Route(request=PeerRequest, result=ForgiveResult, summary="give a host new data again"),
    "peers/show": Route(request=ShowRequest, result=PeerAccount, summary="the account with one peer"),
    "peers/verify/plan": Route(request=PeerRequest, result=VerifyPlan, summary="the safety words to be compared"),
    "peers/verify": Route(request=VerifyRequest, result=VerifyResult, summary="record what a comparison found"),
    "peers/replace/plan": Route(
        request=ReplaceRequest, result=ReplacePlan, work=True, summary="what replacing a host would mean"
    ),
    "peers/replace": Route(
        request=ReplaceRequest, result=ReplaceResult, work=True, summary="all at another host, then end with the first"
    ),
    "peers/resize": Route(request=ResizeRequest, result=TermsResult, work=True, summary="agree on another size"),
    "peers/renew": Route(request=RenewRequest, result=TermsResult, work=True, summary="agree on a longer term"),
    "block/plan": Route(request=BlockRequest, result=BlockPlan, summary="which agreements blocking a peer would end"),
    "block": Route(request=BlockRequest, result=BlockResult, summary="take nothing new from a peer"),
    "vouch": Route(request=VouchRequest, result=VouchResult, summary="vouch for a friend, or no more"),
    "unblock": Route(request=PeerRequest, result=BlockResult, summary="take a block back"),
    "reputation": Route(request=ReputationRequest, result=list[ReputationRow], summary="how peers stand as hosts"),
    "reputation/me": Route(request=OpinionsRequest, result=list[OpinionRow], summary="what partners think of us"),
    "reputation/explain": Route(request=ReputationRequest, result=Reputation, summary="every term of a score"),
    "sessions": Route(request=Nothing, result=list[SessionRow], summary="open sessions, and dials under way"),
    "disconnect": Route(request=DisconnectRequest, result=DisconnectResult, summary="close a session gracefully"),
    "doctor/network": Route(request=Nothing, result=NetworkCheck, summary="what lies before this machine"),
    "doctor/peers": Route(
        request=Nothing, result=PeersChecked, rows=PeerCheck, work=True, summary="whether each peer is there"
    ),
    "browse": Route(request=BrowseRequest, result=list[BrowseRow], summary="hosts on offer"),
    "browse/live": Route(
        request=BrowseRequest, result=BrowseDone, rows=BrowseRow, work=True, summary="hosts on offer, as they are found"
    ),
    "servers": Route(request=Nothing, result=list[ServerState], summary="how the signaling servers do"),
    "requests": Route(request=Nothing, result=list[PendingRequest], summary="requests, both directions"),
    "invite": Route(request=Nothing, result=list[InviteRow], summary="invites to the slot of this home"),
    "invite/create": Route(request=InviteRequest, result=InviteMade, summary="make an invite to the slot"),
    "invite/speak": Route(
        request=InviteRequest, result=InviteSpoken, work=True, summary="hand an invite to who says a code"
    ),
    "invite/revoke": Route(request=InviteNamed, result=InviteRow, summary="take an invite back"),
    "invite/open": Route(request=InviteText, result=InviteOpened, summary="where an invite of somebody else leads"),
    "requests/accept": Route(request=RequestDecision, result=PendingRequest, summary="accept a request"),
    "requests/reject": Route(request=RequestDecision, result=PendingRequest, summary="reject a request"),
    "requests/offer": Route(request=OfferRequest, result=PendingRequest, summary="offer other terms"),
    "host/stop": Route(request=Nothing, result=HostingState, summary="withdraw the slot"),
    "host/plan": Route(request=HostRequest, result=HostPlan, summary="what an offer would mean"),
    "rebut": Route(request=RebutRequest, result=KeptRemoval, summary="what a host answers a charge with"),
    "host/retire/plan": Route(request=RetireRequest, result=RetirePlan, summary="what retiring would mean"),
    "leave/plan": Route(request=LeaveRequest, result=LeavePlan, summary="what leaving would mean, or where it stands"),
    "leave": Route(request=LeaveRequest, result=LeaveResult, summary="end both roles with notice"),
    "host/retire": Route(request=RetireRequest, result=RetireResult, summary="end all agreements as host with notice"),
    "host": Route(request=HostRequest, result=HostResult, work=True, summary="offer a slot"),
    "connect/plan": Route(request=ConnectPlanRequest, result=ConnectPlan, summary="what connecting would mean"),
    "connect/best": Route(request=BestRequest, result=BestChoice, summary="the best host to connect to"),
    "connect": Route(request=ConnectRequest, result=ConnectResult, work=True, summary="agree with a host"),
    "backup": Route(request=BackupRequest, result=BackupResult, work=True, summary="make a snapshot"),
    "backup/stream": Route(
        request=StreamRequest, result=BackupResult, feed=True, summary="make a snapshot of a stream"
    ),
    "snapshots": Route(request=SnapshotsRequest, result=list[SnapshotRow], summary="own snapshots"),
    "forget/plan": Route(request=ForgetRequest, result=ForgetPlan, summary="which snapshots would go, and why"),
    "forget": Route(request=ForgetRequest, result=ForgetResult, work=True, summary="take snapshots out of the list"),
    "prune/plan": Route(request=PruneRequest, result=PrunePlan, work=True, summary="what nothing needs any more"),
    "prune": Route(request=PruneRequest, result=PruneResult, work=True, summary="have hosts delete what nothing needs"),
    "tag": Route(request=TagRequest, result=TagResult, work=True, summary="change the tags of snapshots"),
    "ls": Route(request=LsRequest, result=list[EntryRow], summary="entries of a snapshot"),
    "find": Route(request=FindRequest, result=FindResult, rows=FindRow, work=True, summary="look for names"),
    "diff": Route(request=DiffRequest, result=DiffResult, rows=DiffRow, work=True, summary="compare two snapshots"),
    "stats": Route(request=StatsRequest, result=StatsResult, work=True, summary="what snapshots take"),
    "check": Route(request=CheckRequest, result=CheckResult, work=True, summary="look for damage"),
    "repair": Route(request=RepairRequest, result=RepairResult, work=True, summary="mend what a check found"),
    "audit/hosts": Route(request=AuditRequest, result=list[AuditRow], summary="what hosts have proven"),
    "audit": Route(request=AuditRequest, result=AuditResult, work=True, summary="have hosts prove what they keep"),
    "audit/drill": Route(request=AuditRequest, result=DrillResult, work=True, summary="restore files, compare, delete"),
    "dump": Route(request=DumpRequest, result=DumpResult, bulk=True, summary="a file's bytes, or a folder as tar"),
    "mount": Route(request=MountRequest, result=MountResult, work=True, summary="look into snapshots bit by bit"),
    "mount/folder": Route(
        request=MountFolderRequest, result=MountFolderResult, rows=MountEntry, work=True, summary="what a folder holds"
    ),
    "mount/read": Route(request=MountReadRequest, result=MountReadResult, bulk=True, summary="bytes of a file"),
    "mount/files": Route(request=MountFilesRequest, result=MountReadResult, bulk=True, summary="small files whole"),
    "mount/end": Route(request=MountEndRequest, result=MountResult, summary="end a mount"),
    "restore/plan": Route(
        request=RestoreRequest, result=RestorePlan, rows=RemovalRow, work=True, summary="what it would replace, remove"
    ),
    "restore": Route(request=RestoreRequest, result=RestoreResult, work=True, summary="bring files back"),
    "kit": Route(request=KitRequest, result=KitResult, summary="what a recovery kit says of hosts"),
    "where": Route(request=Nothing, result=Place, summary="where this home can be dialled"),
    "recover": Route(request=RecoverRequest, result=RecoverResult, work=True, summary="find hosts, rebuild the index"),
    "recover/succeed/plan": Route(
        request=SuccessionRequest, result=SuccessionPlan, work=True, summary="what a new identity would mean"
    ),
    "recover/succeed": Route(
        request=SuccessionRequest, result=SuccessionTold, work=True, summary="tell hosts of this home's new identity"
    ),
    "recover/take-over/plan": Route(
        request=TakeOverRequest, result=TakeOverPlan, work=True, summary="what taking over would mean"
    ),
    "recover/take-over": Route(
        request=TakeOverRequest, result=TakeOverResult, work=True, summary="tell hosts of this home's new grant"
    ),
}

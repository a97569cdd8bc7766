"""Which command of the agent serves which route of control.api: the second half of the composition root (`cli.serve`).

Knows: every command, by the name of its route. Must not know: how a command works, HTTP.
"""

from backuppeer.agent.agent import Agent
from backuppeer.agent.commands.amend import AmendCommands
from backuppeer.agent.commands.audit import AuditCommands
from backuppeer.agent.commands.blocking import BlockCommands
from backuppeer.agent.commands.browsing import BrowseCommands
from backuppeer.agent.commands.choosing import ChooseCommands
from backuppeer.agent.commands.doctor import DoctorCommands
from backuppeer.agent.commands.ending import EndCommands
from backuppeer.agent.commands.forgiving import ForgiveCommands
from backuppeer.agent.commands.home import HomeCommands
from backuppeer.agent.commands.host import HostCommands
from backuppeer.agent.commands.inspect import InspectCommands
from backuppeer.agent.commands.inviting import InviteCommands
from backuppeer.agent.commands.jobs import JobCommands, as_job
from backuppeer.agent.commands.kit import KitCommands
from backuppeer.agent.commands.leaving import LeaveCommands
from backuppeer.agent.commands.mend import MendCommands
from backuppeer.agent.commands.mount import MountCommands
from backuppeer.agent.commands.moving import MoveCommands
from backuppeer.agent.commands.notifying import NotifyCommands
from backuppeer.agent.commands.opinions import OpinionCommands
from backuppeer.agent.commands.owner import OwnerCommands
from backuppeer.agent.commands.prune import PruneCommands
from backuppeer.agent.commands.rebut import RebutCommands
from backuppeer.agent.commands.recover import RecoverCommands
from backuppeer.agent.commands.replacing import ReplaceCommands
from backuppeer.agent.commands.reputation import ReputationCommands
from backuppeer.agent.commands.retiring import RetireCommands
from backuppeer.agent.commands.sessions import SessionCommands
from backuppeer.agent.commands.showing import ShowCommands
from backuppeer.agent.commands.succeed import SucceedCommands
from backuppeer.agent.commands.take_over import TakeOverCommands
from backuppeer.agent.commands.terms import TermsCommands
from backuppeer.agent.commands.undelete import UndeleteCommands
from backuppeer.agent.commands.upkeep import look_first
from backuppeer.agent.commands.verifying import VerifyCommands
from backuppeer.agent.commands.vouching import VouchCommands
from backuppeer.agent.commands.waiving import WaiveCommands
from backuppeer.control.server import Handler


def make_handlers(agent: Agent) -> dict[str, Handler]:
    """Return who serves which route of control.api."""
    home, host, owner, amend = HomeCommands(agent), HostCommands(agent), OwnerCommands(agent), AmendCommands(agent)
    inspect, mend, prune = InspectCommands(agent), MendCommands(agent), PruneCommands(agent)
    handlers: dict[str, Handler] = _make_further_handlers(agent, host) | {
        "ping": home.ping,
        "status": home.status,
        "stop": home.stop,
        "peers": home.peers,
        "peers/set": home.set_peer,
        "requests": host.requests,
        "requests/accept": host.accept,
        "requests/reject": host.reject,
        "host/stop": host.stop,
        "host/plan": host.plan,
        "host": host.host,
        "connect/plan": owner.plan,
        "connect": owner.connect,
        "backup": owner.backup,
        "backup/stream": owner.backup_stream,
        "snapshots": owner.snapshots,
        "forget/plan": amend.plan_forget,
        "forget": amend.forget,
        "prune/plan": prune.plan,
        "prune": prune.prune,
        "tag": amend.tag,
        "ls": owner.ls,
        "find": inspect.find,
        "diff": inspect.diff,
        "stats": inspect.stats,
        "check": mend.check,
        "repair": mend.repair,
        "dump": inspect.dump,
        "restore/plan": owner.plan_restore,
        "restore": owner.restore,
    }
    handlers |= _make_job_handlers(JobCommands(agent))
    return {name: look_first(agent, name, as_job(agent, name, handler)) for name, handler in handlers.items()}


def _make_job_handlers(jobs: JobCommands) -> dict[str, Handler]:
    mine: dict[str, Handler] = {"jobs": jobs.list_all, "jobs/attach": jobs.attach}
    return mine | {"jobs/pause": jobs.pause, "jobs/resume": jobs.resume, "jobs/cancel": jobs.cancel}


def _make_mount_handlers(mount: MountCommands) -> dict[str, Handler]:
    return {
        "mount": mount.mount,
        "mount/folder": mount.folder,
        "mount/read": mount.read,
        "mount/files": mount.files,
        "mount/end": mount.end,
    }


def _make_terms_handlers(
    terms: TermsCommands, ends: EndCommands, *, retire: RetireCommands, block: BlockCommands
) -> dict[str, Handler]:
    mine: dict[str, Handler] = {"peers/end/plan": ends.plan, "peers/end": ends.end}
    mine |= {"host/retire/plan": retire.plan, "host/retire": retire.retire}
    mine |= {"block/plan": block.plan, "block": block.block, "unblock": block.unblock}
    return mine | {"peers/resize": terms.resize, "peers/renew": terms.renew, "requests/offer": terms.offer}


def _make_further_handlers(agent: Agent, host: HostCommands) -> dict[str, Handler]:
    undelete, browsing = UndeleteCommands(agent), BrowseCommands(agent)
    mine: dict[str, Handler] = {"peers/deleted": undelete.list_all, "peers/undelete": undelete.undelete}
    mine |= {"browse": browsing.browse, "browse/live": browsing.live, "servers": browsing.servers}
    mine |= _make_recover_handlers(agent)
    mine |= {"rebut": RebutCommands(agent).rebut, "kit": KitCommands(agent).kit}
    mine |= _make_audit_handlers(AuditCommands(agent)) | {"status/seen": HomeCommands(agent).see}
    notify = NotifyCommands(agent)
    mine |= {"notify/test": notify.test, "report": notify.report}
    doctor, sessions = DoctorCommands(agent), SessionCommands(agent)
    mine |= {"sessions": sessions.list_all, "disconnect": sessions.disconnect}
    mine |= {"doctor/peers": doctor.peers, "doctor/network": doctor.network}
    ends = EndCommands(agent)
    verify = VerifyCommands(agent)
    mine |= {"peers/forgive": ForgiveCommands(agent).forgive}
    mine |= {"peers/verify/plan": verify.plan, "peers/verify": verify.verify}
    invite = InviteCommands(agent)
    mine |= {"invite": invite.list_all, "invite/create": invite.create}
    mine |= {"invite/revoke": invite.revoke, "invite/open": invite.open, "invite/speak": invite.speak}
    mine["vouch"] = VouchCommands(agent).vouch
    replace = ReplaceCommands(agent)
    mine |= {"peers/replace/plan": replace.plan, "peers/replace": replace.replace}
    mine |= {"peers/show": ShowCommands(agent).show}
    mine |= {"connect/best": ChooseCommands(agent).best}
    mine |= {"reputation/me": OpinionCommands(agent).ask_all}
    reputation = ReputationCommands(agent)
    mine |= {"reputation": reputation.list_all, "reputation/explain": reputation.explain}
    retire = RetireCommands(agent, ends)
    leave = LeaveCommands(agent, retire)
    mine |= {"leave/plan": leave.plan, "leave": leave.leave}
    mine |= _make_terms_handlers(
        TermsCommands(agent, host, ends), ends, retire=retire, block=BlockCommands(agent, ends)
    )
    return mine | _make_mount_handlers(MountCommands(agent)) | _make_waiver_handlers(agent, WaiveCommands(agent))


def _make_waiver_handlers(agent: Agent, waive: WaiveCommands) -> dict[str, Handler]:
    move = MoveCommands(agent)
    return {
        "host/move": move.move,
        "host/move/place": move.place,
        "peers/lock/plan": waive.plan_lock,
        "peers/lock": waive.lock,
        "peers/purge/plan": waive.plan_purge,
        "peers/purge": waive.purge,
    }


def _make_recover_handlers(agent: Agent) -> dict[str, Handler]:
    recover, taking, succeeding = RecoverCommands(agent), TakeOverCommands(agent), SucceedCommands(agent)
    return {
        "recover/succeed/plan": succeeding.plan,
        "recover/succeed": succeeding.tell,
        "recover": recover.recover,
        "where": recover.where,
        "recover/take-over/plan": taking.plan,
        "recover/take-over": taking.announce,
    }


def _make_audit_handlers(audit: AuditCommands) -> dict[str, Handler]:
    return {"audit/hosts": audit.hosts, "audit": audit.audit, "audit/drill": audit.drill}

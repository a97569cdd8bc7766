"""An owner's questions whether its packs are kept, answered with this host's signed word (docs/protocol.md, "Audits").

Knows: the three messages, what to do about packs that turn out to be lost. Must not know: what is true of a pack
(`host.prove`), what an owner concludes. A loss is written down, signed, before the answer that leaves the pack out.
"""

from collections.abc import Callable

import structlog

from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.threads import in_thread, run_whole
from backuppeer.agent.peers.channel import Channel
from backuppeer.errors import BackupPeerError
from backuppeer.host.prove import Answer, Denial, acknowledge, answer_challenge
from backuppeer.host.store import Store
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import LOSS_REPORTS_PAGE
from backuppeer.wire.auditing import (
    Acked,
    AckPacks,
    AskAudit,
    Audited,
    DeleteIs,
    GetDelete,
    GetLosses,
    Losses,
    LossRow,
    ShownRow,
)
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.messages import Refused

_log = structlog.get_logger()
Inquiry = AckPacks | AskAudit | GetLosses | GetDelete
_DENIALS = {
    Denial.STALE: Refused(
        code=RefusalCode.STALE,
        message="the challenge names another agreement or head than the ones in force",
        hint="ask which head is held, then ask again",
    ),
    Denial.OVER_BUDGET: Refused(
        code=RefusalCode.OVER_BUDGET,
        message="that is more than the audits of a day may read here",
        hint="ask again tomorrow; whatever is to be restored can be read at any time",
    ),
}


class Proving:
    """Answers audits."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self.on_loss: Callable[[], None] = lambda: None
        """Called in a thread when a loss was reported."""

    async def answer(self, store: Store, channel: Channel, message: Inquiry) -> None:
        """Answer one question about the agreement that it names, which is the asking owner's.

        Raises:
            BackupPeerError: as the store does, of which the peer is told.

        """
        match message:
            case AckPacks():
                await self._acknowledge(store, channel, message)
            case AskAudit():
                await self._audit(store, channel, message)
            case GetLosses():
                await self._list_losses(store, channel, message)
            case GetDelete():
                await self._show_delete(store, channel, message)

    def report(self, store: Store, agreement: AgreementId, *suspects: StoredId) -> list[StoredId]:
        """Look again at what is suspected to be lost, sign and keep a report of it, and return what is; never raises.

        A disk that can't be written can't keep a report: the suspicion stays, and is settled later. So does that of
        packs whose files are not there when the store was just opened: until then they are neither shown nor confessed.
        """
        try:
            store.losses.suspect(agreement, suspects)
            lost = store.losses.settle(
                agreement,
                signer=self._premises.signer_of(store.leases.get(agreement)),
                now_ms=self._premises.now_ms(),
                may_return=self._premises.is_just_opened(),
            )
        except BackupPeerError as exc:
            _log.warning("lost packs can't be reported yet", reason=exc.message)
            self._premises.note(f"lost packs can't be reported to their owner yet: {exc.message}")
            return []
        for stored in lost:
            _log.error("a pack is lost", pack=stored.hex(), agreement=agreement.hex())
        if lost:
            self.on_loss()
        return lost

    async def _acknowledge(self, store: Store, channel: Channel, message: AckPacks) -> None:
        signed, packs = await run_whole(
            lambda: acknowledge(
                store,
                message.agreement,
                message.packs,
                signer=self._premises.signer_of(store.leases.get(message.agreement)),
                now_ms=self._premises.now_ms(),
            )
        )
        if len(packs) < len(message.packs):
            await run_whole(lambda: self.report(store, message.agreement))
        await channel.send(Acked(signed=signed, packs=tuple(packs)))

    async def _audit(self, store: Store, channel: Channel, message: AskAudit) -> None:
        answer = await run_whole(lambda: self._answer_challenge(store, message))
        if isinstance(answer, Denial):
            await channel.refuse(_DENIALS[answer])
            return
        rows = [ShownRow(0, ()) if one is None else ShownRow(one.length, one.path) for one in answer.shown]
        await channel.send(Audited(signed=answer.signed, shown=tuple(rows)))
        for one in answer.shown:
            if one is not None:
                await channel.send_raw(one.data)

    def _answer_challenge(self, store: Store, message: AskAudit) -> Answer | Denial:
        answer = answer_challenge(
            store,
            store.leases.get(message.agreement),
            message.signed,
            signer=self._premises.signer_of(store.leases.get(message.agreement)),
            now_ms=self._premises.now_ms(),
        )
        if isinstance(answer, Answer) and None in answer.shown:
            self.report(store, message.agreement)
        return answer

    async def _list_losses(self, store: Store, channel: Channel, message: GetLosses) -> None:
        reports, more = await in_thread(
            lambda: store.losses.list_reports(message.agreement, after=message.after, limit=LOSS_REPORTS_PAGE)
        )
        rows = tuple(LossRow(report.number, report.signed, report.packs) for report in reports)
        await channel.send(Losses(reports=rows, more=more))

    async def _show_delete(self, store: Store, channel: Channel, message: GetDelete) -> None:
        found = await in_thread(lambda: store.removals.newest_delete(message.agreement, before=message.before))
        if found is None:
            await channel.send(DeleteIs())
        else:
            number, kept = found
            await channel.send(
                DeleteIs(number=number, signed=kept.signed, packs=kept.packs, device_sig=kept.device_sig)
            )

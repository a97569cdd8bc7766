"""Recovery: from an identity derived from the words to a readable repository (DESIGN 10 `recover`, ADR 46).

Knows: the order: inboxes opened, hosts met, heads compared, directories read, what is to be told. Must not know: the
words; the command turned them into keys and forgot them. Read-only: the home has no grant.

A note counts as much as its signatures. Its head was made by a writer of ours, so nobody can invent one; its receipt is
the host's own word, so a host that shows less than its note said is told as one that was set back. What no note can do
is to prove that there is nothing newer: for that hosts are asked, and those that could not be are named.
"""

from collections.abc import Sequence
from typing import Final

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.home.successions import SEEN
from backuppeer.agent.owner.meeting import Meeting
from backuppeer.agent.owner.selfset import find_newest
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.names import alias_of, name_of, say_of
from backuppeer.agent.peers.partners import Partner, meet_at
from backuppeer.agent.recovery.finding import Finding, Ways
from backuppeer.agent.recovery.inboxes import FoundNote, Inboxes, open_inboxes
from backuppeer.agent.recovery.slots import Slots
from backuppeer.agent.recovery.witnessing import describe_rows, is_proven, make_rows
from backuppeer.agent.reporter import Reporter
from backuppeer.agent.repute.gaps import note_recovered
from backuppeer.control.recovering import RecoverRequest, RecoverResult, WitnessRow
from backuppeer.errors import BackupPeerError, NoSignaling, NotFoundError, PeerUnreachable, Unavailable
from backuppeer.ids import format_peer_id, parse_peer_id
from backuppeer.limits import RECOVER_REST_S
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.proof.succession import Succession
from backuppeer.repo.snapshot import decode_known

_NOT_LOOKED: Final = (
    "not looked for word of hosts at {}; one that has not heard may have left it there alone: if a host lacks "
    "afterwards, name it with `backup-peer recover --peer ID --home DIR`, in a new folder"
)
_ASK_AGAIN: Final = (
    "ask the person who keeps your backups to run `host` again, then run `backup-peer recover` again: it "
    "goes on without the words; if that host uses other servers, name them with --server URL. Were these the words of "
    "another backup? Then recover into another folder: --home DIR. Did this machine keep others' backups, and none of "
    "its own? Then `backup-peer host --store DIR --storage SIZE` takes up a store that survived"
)
_CHECK_AGAIN: Final = (
    "ask the people who keep your backups whether their machines are on, then check again; if their hosts use other "
    "servers, name them with --server URL. Or are these the words of another backup?"
)
_LATER: Final = (
    "ask their people whether the machines are on, then run `backup-peer recover` again: no words are needed"
)


class Recovery:
    """One run of `recover`."""

    def __init__(self, keys: HomeKeys, state: State, vault: Vault, *, ways: Ways, slots: Slots) -> None:
        self._keys, self._state, self._vault = keys, state, vault
        self._ways, self._slots = ways, slots
        self._notes: list[str] = []
        self._fault: BackupPeerError | None = None
        self.is_keeping = False
        """Whether this home keeps backups of others: then it may be that nobody keeps any of its own."""

    async def run(self, request: RecoverRequest, servers: list[str], reporter: Reporter) -> RecoverResult:
        """Find hosts that keep our packs, take the newest head among them, rebuild the index.

        Raises:
            NotFoundError: nobody who could be asked keeps anything of ours.
            PeerUnreachable: hosts of ours are known, and none could be heard; or what is wrong with the first of them.
            NoSignaling: no server answered.
            IntegrityFault: hosts hold back or lost some of what the newest head commits to; the rest is there now.
            IncompleteError: so, but a host that may have it could not be heard.

        """
        await reporter.state("searching", "looking for word that your hosts left for you")
        inboxes = await open_inboxes(self._keys, servers, self._vault.clock.now_ms())
        # Also where it is led on: who has not heard of the heir is found under this name alone, and told later.
        self._take_over(list(inboxes.notes.values()))
        finding = Finding(self._keys, self._state, ways=self._ways, request=request, reporter=reporter)
        if inboxes.succession:
            await finding.meet_named(inboxes.notes.values(), servers)
            return self._lead_on(inboxes.succession, inboxes)
        await self._find(finding, inboxes, servers, reporter)
        if succession := self._succession():
            return self._lead_on(succession, inboxes)
        if self.is_keeping and not self._state.agreements() and not finding.wanted:
            return self._end_alone()
        partners = self._partners(finding, hint=_CHECK_AGAIN if request.check else _ASK_AGAIN)
        meeting = Meeting(self._vault, reporter, self._note)
        missing = await self._read(meeting, partners)
        if meeting.held and self._take_back(is_passing=request.check):
            # The snapshot knows of hosts that nobody else spoke of: they may hold a newer state, or what is missed.
            await finding.dial(())
            partners, meeting = self._vault.partners(), Meeting(self._vault, reporter, self._note)
            missing = await self._read(meeting, partners)
        if not meeting.held:
            raise self._fault or self._explain_silence(partners, hint=_CHECK_AGAIN if request.check else _LATER)
        self._vault.end_recovery()
        note_recovered(self._state, self._vault.clock.now_ms())
        agreements = [(agreement, host) for agreement, host, _ in self._state.agreements()]
        rows = make_rows(agreements, meeting.held, inboxes.notes, lambda host: alias_of(self._state, host))
        self._notes += describe_rows(
            rows,
            lambda row: name_of(self._state, parse_peer_id(row.peer_id)),
            lambda row: finding.explain(parse_peer_id(row.peer_id)),
        )
        if missing is not None:
            for note in self._notes:
                reporter.note(note)
            raise missing
        return self._result(rows)

    def _take_over(self, notes: Sequence[FoundNote]) -> None:
        """Take what hosts left word of: agreements, slots, where they are, heads, and that they signed to hold these.

        Heads come last: whose they are is known from the agreements.
        """
        now_ms = self._vault.clock.now_ms()
        known = {agreement: signed for agreement, _, signed in self._state.agreements()}
        for note in sorted(notes, key=lambda note: note.time_ms):
            mine = known.get(note.agreement)
            if mine is None or peek_statement(Agreement, mine).revision < note.revision:
                self._state.put_agreement(note.agreement, note.host, note.signed)
            self._slots.note_found(note.agreement, note.slot)
            self._slots.note_servers(note.servers)
            # It was there when it wrote the note, not now.
            meet_at(self._state, note.host, note.where.encode(), min(note.time_ms, now_ms))
        for note in notes:
            if note.head is None:
                continue
            try:
                self._vault.heads.adopt(note.signed_head, note.grant)
                self._vault.heads.keep_promise(note.agreement, note.host, note.receipt)
            except BackupPeerError as exc:
                self._notes.append(say_of(self._state, note.host, exc))

    async def _find(self, finding: Finding, inboxes: Inboxes, servers: list[str], reporter: Reporter) -> None:
        await finding.dial(inboxes.notes.values())
        if finding.is_wanting() and not self._succession():
            await reporter.state("searching", "looking for hosts that keep your backups")
            try:
                await finding.ask_market(servers)
            except NoSignaling as exc:
                if not finding.met:
                    exc.hint += "; or name a host: `backup-peer recover --peer WHERE`, which `id --where` shows there"
                    raise
                self._notes.append(exc.message)
        self._notes += [f"not looked for word of hosts at {exc.message}" for exc in inboxes.failed.values()]
        self._notes += finding.notes

    def _succession(self) -> bytes:
        """Return the signed succession by which this identity goes on as another, as a host showed it; b"": none."""
        seen = self._state.setting(SEEN) or b""
        return seen if seen and peek_statement(Succession, seen).old == self._keys.peer else b""

    def _lead_on(self, succession: bytes, inboxes: Inboxes) -> RecoverResult:
        """Return where the person is led: the words give that identity, and this agent has none.

        Notes: at which servers nobody looked for hosts that know this one alone; under the other name nobody does.
        """
        return RecoverResult(
            peer_id=format_peer_id(self._keys.peer),
            peers=[],
            snapshots=0,
            packs=0,
            head=0,
            notes=[_NOT_LOOKED.format(exc.message) for exc in inboxes.failed.values()],
            succession=succession.hex(),
        )

    def _end_alone(self) -> RecoverResult:
        """Be done without a host: this home keeps others' backups, and nobody who could be asked keeps any of its own.

        A later recovery asks again.
        """
        now_ms = self._vault.clock.now_ms()
        self._vault.end_recovery()
        note_recovered(self._state, now_ms)
        peer_id = format_peer_id(self._keys.peer)
        return RecoverResult(peer_id=peer_id, peers=[], snapshots=0, packs=0, head=0, notes=self._notes, alone=True)

    def _partners(self, finding: Finding, *, hint: str) -> list[Partner]:
        try:
            return self._vault.partners()
        except NotFoundError as exc:
            heard = f" ({'; '.join(self._notes)})" if self._notes else ""
            found = "that could be asked keeps backups of yours" if finding.asked else "is on offer"
            raise NotFoundError(f"no host {found}{heard}", hint=hint) from exc

    async def _read(self, meeting: Meeting, partners: list[Partner]) -> BackupPeerError | None:
        """Take heads from all hosts first, so that the newest decides; then read directories from each.

        Return what to tell of that which the newest head commits to and is not there.
        """
        unread = self._vault.unread
        unread.add(partner.agreement for partner in partners)
        losses = await meeting.mend(partners, on_s=RECOVER_REST_S)
        slow = [p.name for p in partners if p.agreement in unread and p.agreement in meeting.held.keys() - meeting.away]
        self._notes += [
            f"what {name} keeps was not read to its end, as it is slow: a restore reads on where it must"
            for name in slow
        ]
        for partner in partners:
            held = meeting.held.get(partner.agreement)
            if held is not None and self._vault.heads.find_stray(held):
                text = "has not heard of the last take-over: what it alone keeps joins the list with the next backup"
                self._notes.append(f"{partner.name} {text}")
        count = len(self._vault.repository.index.snapshots())
        found = f"found {count} snapshot{'' if count == 1 else 's'}"
        return meeting.witnesses().explain(losses, found=found) if losses else None

    def _take_back(self, *, is_passing: bool) -> bool:
        """Take what the newest snapshot carries of the home that was lost; return whether it names further hosts."""
        carried = find_newest(decode_known(self._vault.repository.index.snapshots()))
        if not carried:
            return False
        taken = self._vault.self_set.take_back(carried, self._vault.clock.now_ms())
        if taken.has_settings and not is_passing:
            self._notes.append("settings and sets are back, without hooks and commands: look at them in config.toml")
        return bool(taken.hosts)

    def _explain_silence(self, partners: Sequence[Partner], *, hint: str) -> BackupPeerError:
        names = ", ".join(partner.name for partner in partners)
        return PeerUnreachable(f"none of your hosts could be heard: {names} ({'; '.join(self._notes)})", hint=hint)

    def _result(self, rows: list[WitnessRow]) -> RecoverResult:
        index, newest = self._vault.repository.index, self._vault.heads.newest()
        return RecoverResult(
            peer_id=format_peer_id(self._keys.peer),
            peers=[row.peer_id for row in rows if row.heard],
            snapshots=len(index.snapshots()),
            sets=sorted({snapshot.set for _, snapshot in decode_known(index.snapshots())}),
            packs=sum(1 for _ in index.packs()),
            head=newest[0].number if newest else 0,
            notes=self._notes,
            witnesses=rows,
            unheard=[row.peer_id for row in rows if not row.heard],
            proven=is_proven(rows),
        )

    def _note(self, partner: Partner, error: BackupPeerError) -> None:
        """Note what went wrong with one host; the others are still heard."""
        self._vault.blame(partner, error)
        if not isinstance(error, Unavailable):
            self._fault = self._fault or error
        self._notes.append(say_of(self._state, partner.peer, error))

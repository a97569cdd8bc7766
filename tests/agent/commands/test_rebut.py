"""What a host hands out of what it kept: requests about one pack, one after the other."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.host.test_removals_over_the_wire import STORED, delete_directly
from backuppeer.agent.commands.rebut import RebutCommands
from backuppeer.control.rebutting import KeptRemoval, RebutRequest
from backuppeer.crypto.keys import derive_authority
from backuppeer.errors import NotFoundError, UserError
from backuppeer.ids import AgreementId
from backuppeer.proof.notices import sign_notice
from backuppeer.proof.removals import PackDelete, open_removal
from backuppeer.proof.statements import sign_statement, statement_hash
from backuppeer.proof.waivers import EndWaiver


@pytest.fixture
def ask(house):
    commands = RebutCommands(SimpleNamespace(host=SimpleNamespace(premises=house.premises)))

    def ask(agreement, stored=b"", after=0):
        request = RebutRequest(agreement=agreement.hex(), stored=stored.hex(), after=after)
        return asyncio.run(commands.rebut(request, None))

    return ask


def test_the_owner_s_delete_is_handed_out_as_it_was_signed(house, owner, ask):
    agreement = owner.agree_with(house)
    delete_directly(house, owner, agreement)
    found = ask(agreement, STORED)
    packs = [bytes.fromhex(one) for one in found.packs]
    signed = bytes.fromhex(found.signed)
    open_removal(PackDelete, signed, packs, owner=owner.peer, agreement=agreement)
    (lease,) = house.premises.open().leases.list_all()
    assert (STORED in packs, found.agreements) == (True, [lease.signed.hex()])
    assert ask(agreement, STORED, found.number) == KeptRemoval(), "there is one"
    assert ask(agreement, b"?" * 32).number == 0
    assert ask(agreement).agreements == [lease.signed.hex()]


def test_what_was_signed_answers_charges_after_the_agreement_has_ended(house, owner, ask):
    agreement = owner.agree_with(house)
    delete_directly(house, owner, agreement)
    (lease,) = house.premises.open().leases.list_all()
    house.ending.end(owner.peer)
    house.sweeping.look()
    house.clock.ms += house.ending.left_for(owner.peer) * 1000
    for _ in range(3):
        house.sweeping.look()
    house.premises.close()  # and the agent was started anew
    assert house.premises.open().leases.list_all() == []
    found = ask(agreement, STORED)
    assert bytes.fromhex(found.packs[0]) == STORED
    assert found.agreements == [lease.signed.hex()]


def test_an_owners_notice_and_its_leave_to_end_at_once_are_handed_out_also_when_it_has_ended(house, owner, ask):
    agreement = owner.agree_with(house)
    assert ask(agreement).endings == []
    notice = sign_notice(agreement, owner.keys.identity, last=0, time_ms=house.clock.now_ms())
    house.ending.take(owner.peer, agreement, notice, b"")
    assert ask(agreement).endings == [notice.hex()]
    (lease,) = house.premises.open().leases.list_all()
    said = EndWaiver(
        agreement=agreement,
        host=house.peer,
        terms=statement_hash(lease.signed),
        time_ms=house.clock.now_ms(),
        notice=1,
    )
    signed = sign_statement(said, derive_authority(b"o" * 32))
    house.waiving.take(owner.peer, agreement, signed)
    house.sweeping.look()
    assert house.premises.open().leases.list_all() == []
    assert ask(agreement).endings == [notice.hex(), signed.hex()]


def test_only_the_host_of_an_agreement_can_answer(house, owner, ask):
    owner.agree_with(house)
    with pytest.raises(NotFoundError):
        ask(AgreementId(b"?" * 16))
    for strange in (b"", b"?" * 200):
        with pytest.raises(NotFoundError):
            ask(AgreementId(strange))
    with pytest.raises(UserError):
        ask(SimpleNamespace(hex=lambda: "zz"))

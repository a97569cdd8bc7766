"""What a host hands out of what it kept: requests about one pack, one after the other."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.host.test_removals_over_the_wire import STORED, delete_directly
from backuppeer.agent.commands.rebut import RebutCommands
from backuppeer.control.rebutting import KeptRemoval, RebutRequest
from backuppeer.errors import NotFoundError, UserError
from backuppeer.ids import AgreementId
from backuppeer.proof.removals import PackDelete, open_removal


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


def test_only_the_host_of_an_agreement_can_answer(house, owner, ask):
    owner.agree_with(house)
    with pytest.raises(NotFoundError):
        ask(AgreementId(b"?" * 16))
    for strange in (b"", b"?" * 200):
        with pytest.raises(NotFoundError):
            ask(AgreementId(strange))
    with pytest.raises(UserError):
        ask(SimpleNamespace(hex=lambda: "zz"))

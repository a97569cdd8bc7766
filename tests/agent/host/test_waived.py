"""What a host's person is told of the owners' 24 words: kept over a restart of the agent, until it was seen."""

from agent.houses import HostHouse
from backuppeer.agent.home.state import State
from backuppeer.agent.host.waived import Deed, Waived, Word
from backuppeer.errors import LocalError
from backuppeer.ids import AgreementId
from backuppeer.limits import PREMISES_NOTES
from backuppeer.proof.revisions import revise, wish_of
from backuppeer.proof.statements import Agreement, peek_statement, sign_statement

DAY_S = 86400


def restart(house: HostHouse) -> HostHouse:
    folder = house.premises.directory.parent
    house.close()
    return HostHouse(folder, b"h")


def purged(owner, agreement, *, size_bytes=7) -> Word:
    return Word(owner=owner.peer, agreement=agreement, deed=Deed.PURGED, time_ms=0, size_bytes=size_bytes)


def test_what_was_erased_early_is_told_after_a_restart_until_it_was_seen(house, owner):
    agreement = owner.agree_with(house)
    house.state.call(owner.peer, "bob", 1)
    house.waiving.waived.add(purged(owner, agreement))
    again = restart(house)
    (said,) = again.waiving.waived.describe()
    assert said.startswith("bob had its deleted data (7 B) erased at once, with its 24 words, on 1970-01-01")
    assert said.endswith("`backup-peer status --seen` when you have taken note")
    (seen,) = again.waiving.waived.see()
    assert said.startswith(seen)
    assert (again.waiving.waived.describe(), again.waiving.waived.see()) == ([], [])
    third = restart(again)
    assert third.waiving.waived.describe() == []
    third.close()


def test_more_of_the_same_kind_is_one_note_with_the_sum_and_is_told_again_when_it_was_seen(house, owner):
    agreement, waived = owner.agree_with(house), house.waiving.waived
    waived.add(purged(owner, agreement, size_bytes=7))
    waived.add(purged(owner, agreement, size_bytes=5))
    (said,) = waived.describe()
    assert "(12 B)" in said
    waived.see()
    waived.add(purged(owner, agreement, size_bytes=5))
    (said,) = waived.describe()
    assert "(5 B)" in said


def test_a_lowered_lock_is_told_with_what_it_is_now_and_no_more_once_it_was_raised_again(house, owner):
    agreement = owner.agree_with(house)
    house.waiving.tell_lowered(owner.peer, agreement, 30 * DAY_S, 60)
    (said,) = house.waiving.waived.describe()
    assert "lowered its lock from 30 d to 1 m" in said
    change_lock(house, owner, 10 * DAY_S)
    (said,) = house.waiving.waived.describe()
    assert "lowered its lock from 30 d to 10 d" in said
    change_lock(house, owner, 30 * DAY_S)
    assert house.waiving.waived.describe() == []
    again = restart(house)
    assert again.waiving.waived.describe() == []
    again.close()


def change_lock(house, owner, lock_s: int) -> None:
    lease = house.premises.open().leases.list_by_owner(owner.peer)[0]
    wish = wish_of(peek_statement(Agreement, lease.signed))._replace(lock_s=lock_s)
    from backuppeer.proof.statements import add_signature  # noqa: PLC0415 - of this helper alone

    signed = sign_statement(revise(lease.signed, wish), owner.keys.identity)
    house.premises.agree(add_signature(signed, Agreement, house.identity))


def test_while_the_store_is_away_a_lowered_lock_is_told_as_it_was_heard(house, owner):
    agreement = owner.agree_with(house)
    house.waiving.tell_lowered(owner.peer, agreement, 30 * DAY_S, 60)
    house.premises.directory.rename(house.premises.directory.with_name("unplugged"))
    (said,) = house.waiving.waived.describe()
    assert "lowered its lock from 30 d to 1 m" in said


def test_owners_without_number_fill_no_memory_and_push_out_no_note_of_more(house, owner):
    waived = house.waiving.waived
    for number in range(PREMISES_NOTES + 3):
        waived.add(purged(owner, AgreementId(number.to_bytes(16, "big")), size_bytes=1000 + number))
    texts = waived.describe()
    assert len(texts) == PREMISES_NOTES
    assert "(1 kB)" in texts[0]
    waived.add(purged(owner, AgreementId(b"L" * 16), size_bytes=5000))
    for number in range(PREMISES_NOTES):
        waived.add(purged(owner, AgreementId(number.to_bytes(16, "little")), size_bytes=0))
    assert any("(5 kB)" in text for text in waived.describe())
    texts = waived.describe()
    kept = Waived(house.state, house.premises)
    assert kept.describe() == texts


def test_a_note_that_can_not_be_read_is_said_and_hides_no_other(house, owner):
    agreement = owner.agree_with(house)
    house.state.put_setting("waived.told", b"\xc1 rubbish")
    waived = Waived(house.state, house.premises)
    (said,) = waived.describe()
    assert "can't be read" in said
    waived.add(purged(owner, agreement))
    assert "erased at once" in " ".join(waived.describe())


def test_a_disk_that_takes_no_note_undoes_no_deed_and_the_person_is_told_while_the_agent_runs(
    house, owner, monkeypatch
):
    agreement = owner.agree_with(house)

    def refuse(state, key, value):
        raise LocalError("the disk is full")

    monkeypatch.setattr(State, "put_setting", refuse)
    house.waiving.waived.add(purged(owner, agreement))
    assert "erased at once" in " ".join(house.waiving.waived.describe())

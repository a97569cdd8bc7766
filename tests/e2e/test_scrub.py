"""A host whose disk spoiled a pack finds it by itself, says so to its human and its owner, and gets it again."""

import pytest

from backuppeer.host.losses import split_report
from backuppeer.ids import AgreementId, parse_peer_id
from backuppeer.proof.custody import LossCause, LossReport, open_packs
from e2e.harness import Pair, World, agree, below, describe_tree, wait_until
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def notes(pair: Pair) -> list[str]:
    return [str(note) for note in pair.host.do("status").last["notes"]]


def reports(pair: Pair) -> list[LossReport]:
    """Return what the host signed, whose signature holds, about one pack each."""
    found = []
    for path in sorted((pair.host.path / "store").glob("agreements/*/losses/*")):
        agreement = AgreementId(bytes.fromhex(path.parent.parent.name))
        signed, packs = split_report(path.read_bytes())
        assert len(packs) == 1
        found.append(open_packs(LossReport, signed, packs, host=parse_peer_id(pair.host_id), agreement=agreement))
    return found


def test_a_pack_that_the_disk_spoiled_is_found_by_the_host_told_and_sent_again(world: World):
    pair = agree(world)
    tree = world.path / "files"
    make_random_files(tree, count=6, size_bytes=2_500_000, seed=42)
    pair.owner.do("backup", str(tree))
    assert not [note for note in notes(pair) if "lost or damaged" in note]
    pair.host.do("agent", "stop")
    spoilt = pair.packs()[0]
    content = bytearray(spoilt.read_bytes())
    content[len(content) // 2] ^= 1
    spoilt.write_bytes(content)

    pair.host.do("status")  # starts the agent, which reads its store
    wait_until(lambda: [note for note in notes(pair) if "1 pack is lost or damaged" in note], "the host to find it")
    (report,) = reports(pair)
    assert (report.cause, report.number) == (LossCause.DAMAGED, 1)
    assert spoilt.exists(), "what of it is good can still be read"

    healed = pair.owner.run("backup", str(tree))
    assert (healed.code, healed.last["event"]) == (15, "done"), "the owner is told, and it is whole again"
    target = world.path / "out"
    pair.owner.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)

    pair.host.do("agent", "stop")
    pair.host.do("status")
    assert pair.owner.run("backup", str(tree)).code == 0
    assert len(reports(pair)) == 1, "and not told again"

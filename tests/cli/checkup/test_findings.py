"""Which exit code follows from what was found."""

import pytest

from backuppeer.cli.checkup.findings import LINKS, Finding, State, choose_code, order


def found(link, state=State.BROKEN, code=0, name=""):
    return Finding(link=link, state=state, text="", code=code, name=name)


def test_findings_stand_along_the_chain_whenever_they_came():
    came = [found("peer", State.OK), found("home", State.OK), found("clock", State.OK), found("peer", State.NONE)]
    assert [each.link for each in order(came)] == ["home", "clock", "peer", "peer"]
    assert len(set(LINKS)) == len(LINKS)


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([found("home", State.OK), found("peer", State.WARNING), found("backups", State.NONE)], 0),
        ([found("peer", code=11), found("settings", code=2)], 2),
        ([found("agent", State.UNSEEN), found("home", State.OK)], 3),
        ([found("agent", State.UNSEEN), found("server", code=14)], 14),
        ([found("server", code=14), found("server", State.OK)], 3),
        ([found("server", code=14), found("server", code=14)], 14),
        ([found("peer", code=11), found("peer", State.OK)], 3),
        ([found("peer", code=11), found("peer", State.NONE)], 11),
        ([found("peer", code=12), found("peer", State.OK)], 12),
        ([found("peer", code=11), found("backups", code=15)], 11),
    ],
)
def test_the_code_is_that_of_the_first_broken_link(findings, code):
    assert choose_code(findings) == code

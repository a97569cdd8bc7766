"""The tutorials of docs/, typed line by line by those who appear there, each with a home and a terminal (U5)."""

import pytest

from docs.commands import ROOT, read_blocks
from e2e.reader import Town

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("page", ["two-friends", "family-nas", "marketplace"])
def test_who_types_what_a_tutorial_says_gets_what_it_promises(world, page):
    world.start_server()
    town = Town(world)
    blocks = [block for block in read_blocks(ROOT / "docs" / f"{page}.md") if block.who]
    assert len(blocks) > 4
    for block in blocks:
        reader = town.reader(block.who)
        reader.finish()
        for line in block.lines:
            reader.type_line(line, goes_on=block.goes_on and line == block.lines[-1])
        for other in town.readers.values():
            if not block.goes_on and other is not reader:
                other.finish()

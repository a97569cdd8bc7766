"""Every number of limits/ is used by the code: a cap that nothing reads caps nothing."""

import ast
from pathlib import Path

import backuppeer
from backuppeer import limits

SOURCE = Path(backuppeer.__file__).parent
UNITS = {"KIB", "MIB", "GIB"}
"""Not caps: what the caps are written in."""
NAMES = {name for name in vars(limits) if name.isupper()} - UNITS


def names_read(source: str) -> set[str]:
    """Return the names that a module reads, as `NAME` or as `limits.NAME`; importing one is not reading it."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return plain | {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "limits"
    }


def test_every_limit_is_read_somewhere():
    modules = [path for path in SOURCE.rglob("*.py") if path.parent != SOURCE / "limits"]
    used = set().union(*(names_read(path.read_text("utf-8")) for path in modules))
    assert sorted(NAMES - used) == []


def test_a_limit_that_is_only_imported_or_named_in_words_counts_as_unread():
    assert names_read('"""CAP."""\nfrom backuppeer.limits import CAP\nother.CAP\n') == {"other"}
    assert names_read("limits.CAP\nprint(ROOF)\n") >= {"CAP", "ROOF"}

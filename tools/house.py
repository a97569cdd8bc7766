"""Print the finished house: per room its files, lines, longest file and longest function.

Knows: folders of Python files and their syntax trees. Must not know: what any of them does. A room is a folder or a
single module directly below the package; a function's length leaves its docstring out, since explaining is not
what the limit is about.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "backuppeer"
FILE_LINES = 400
FILE_BYTES = 20_000
FUNCTION_LINES = 40
"""The limits of the house; tests/test_house.py holds every file to them."""


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """A file or function and its length in lines."""

    lines: int
    name: str


@dataclass(frozen=True, slots=True)
class Room:
    """The figures of one room."""

    name: str
    files: int
    lines: int
    longest_file: Part
    longest_function: Part


def find_rooms(package: Path) -> dict[str, list[Path]]:
    """Return the Python files of each room below `package`, rooms and files sorted by name."""
    rooms: dict[str, list[Path]] = {}
    for file in sorted(package.rglob("*.py")):
        first = file.relative_to(package).parts[0]
        rooms.setdefault(first.removesuffix(".py"), []).append(file)
    rooms.pop("__init__", None)
    return rooms


def measure_functions(source: str) -> Iterator[Part]:
    """Yield every function of `source` with its length, from `def` to its last line, docstring left out.

    Raises:
        SyntaxError: `source` is not Python.

    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Part(_last_line(node) - node.lineno + 1 - _docstring_lines(node), node.name)


def measure_room(name: str, files: list[Path]) -> Room:
    """Return the figures of the room made of `files`; needs at least one file."""
    sizes, functions = [], [Part(0, "-")]
    for file in files:
        source = file.read_text("utf-8")
        sizes.append(Part(len(source.splitlines()), file.name))
        functions += [Part(found.lines, f"{file.name}:{found.name}") for found in measure_functions(source)]
    return Room(name, len(files), sum(size.lines for size in sizes), max(sizes), max(functions))


def find_oversized(package: Path) -> list[str]:
    """Return one sentence for each file or function below `package` that is over the limits."""
    found = []
    for file in sorted(package.rglob("*.py")):
        source, name = file.read_text("utf-8"), str(file.relative_to(package))
        lines, size_bytes = len(source.splitlines()), len(source.encode())
        if lines > FILE_LINES or size_bytes > FILE_BYTES:
            found.append(f"{name} has {lines} lines, {size_bytes} bytes")
        found += [
            f"{name}: {function.name} has {function.lines} lines"
            for function in measure_functions(source)
            if function.lines > FUNCTION_LINES
        ]
    return found


def _last_line(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return node.end_lineno or node.lineno


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(node, clean=False) is None:
        return 0
    first = node.body[0]
    return (first.end_lineno or first.lineno) - first.lineno + 1


def main() -> int:
    """Print the table and the parts over the limits; return 1 if there are any."""
    rooms = [measure_room(name, files) for name, files in find_rooms(PACKAGE).items()]
    print(f"{'room':<12}{'files':>6}{'lines':>7}  {'longest file':<28}longest function")
    for room in rooms:
        file, function = room.longest_file, room.longest_function
        print(
            f"{room.name:<12}{room.files:>6}{room.lines:>7}  "
            f"{f'{file.name} {file.lines}':<28}{function.name} {function.lines}"
        )
    print(f"{'total':<12}{sum(r.files for r in rooms):>6}{sum(r.lines for r in rooms):>7}")
    oversized = find_oversized(PACKAGE)
    for sentence in oversized:
        print(f"over the limit: {sentence}", file=sys.stderr)
    return 1 if oversized else 0


if __name__ == "__main__":
    sys.exit(main())

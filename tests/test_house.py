"""The figures of tools/house.py are right, and the package keeps the limits they show."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def house() -> ModuleType:
    spec = importlib.util.spec_from_file_location("house", ROOT / "tools" / "house.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module
    spec.loader.exec_module(module)
    return module


def test_every_file_and_function_of_the_package_keeps_the_limits(house):
    assert house.find_oversized(house.PACKAGE) == []


def test_every_tool_keeps_the_limits_too(house):
    # read_backup.py is one file on purpose: a reader that people can carry away and audit alone
    assert [found for found in house.find_oversized(ROOT / "tools") if "read_backup" not in found] == []


def test_every_part_of_the_benchmark_keeps_the_limits_too(house):
    assert house.find_oversized(ROOT / "bench") == []


def test_a_room_is_a_folder_or_a_module_of_the_package(house, tmp_path):
    (tmp_path / "host" / "deep").mkdir(parents=True)
    for name in ("__init__.py", "ids.py", "host/__init__.py", "host/store.py", "host/deep/x.py"):
        (tmp_path / name).write_text("")
    rooms = house.find_rooms(tmp_path)
    assert list(rooms) == ["host", "ids"]
    assert len(rooms["host"]) == 3


def test_longest_file_and_function_are_named_with_their_lines(house, tmp_path):
    short, long = tmp_path / "short.py", tmp_path / "long.py"
    short.write_text("def one():\n    return 1\n")
    long.write_text('def two():\n    """Say\n\n    much."""\n    x = 1\n    return x\n\n\nX = 1\n')
    room = house.measure_room("room", [short, long])
    assert (room.files, room.lines) == (2, 11)
    assert (room.longest_file.name, room.longest_file.lines) == ("long.py", 9)
    assert (room.longest_function.name, room.longest_function.lines) == ("long.py:two", 3)


def test_methods_and_nested_and_async_functions_are_measured(house):
    source = "class A:\n    async def m(self):\n        def inner():\n            return 1\n        return inner\n"
    assert {part.name: part.lines for part in house.measure_functions(source)} == {"m": 4, "inner": 2}


def test_what_is_over_the_limit_is_found(house, tmp_path):
    (tmp_path / "big.py").write_text("\n" * 401)
    (tmp_path / "fat.py").write_text("#" * 20_001)
    (tmp_path / "long.py").write_text("def f():\n" + "    x = 1\n" * 40)
    (tmp_path / "good.py").write_text("def f():\n" + "    x = 1\n" * 39)
    assert [sentence.split()[0].rstrip(":") for sentence in house.find_oversized(tmp_path)] == [
        "big.py",
        "fat.py",
        "long.py",
    ]


def test_everything_is_caught_in_two_places_only(house):
    texts = {path.relative_to(house.PACKAGE).as_posix(): path.read_text() for path in house.PACKAGE.rglob("*.py")}
    broad = {name: text.count("except Exception") for name, text in texts.items() if "except Exception" in text}
    assert broad == {"cli/main.py": 1, "control/server.py": 1}

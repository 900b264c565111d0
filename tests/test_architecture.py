"""The house: a room knows only the rooms below it, and stays small enough to be read."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fcn"

STOREYS = (  # from the top; rooms of one storey may know each other
    {"training"},
    {"evaluation"},
    {"inference"},
    {"datasets"},
    {"pipeline", "augment"},
    {"run", "trained", "environment"},
    {"pictures"},
    {"model"},
    {"images"},
    {"config", "dataconfig", "configfile", "configvalue", "classlist", "section"},
    {"files", "errors"},
)
WITHOUT_TENSORFLOW = (
    "config",
    "dataconfig",
    "configfile",
    "datasets",
    "images",
    "pictures",
    "files",
    "errors",
    "run",
    "trained",
    "environment",
    "training.balance",
    "training.manifest",
    "evaluation.birds_eye",
    "evaluation.confusion",
    "evaluation.evaluate",
    "evaluation.colour_table",
    "evaluation.kitti_road",
    "evaluation.submission",
    "inference.sources",
    "model.weights",
)
RECIPES = {"train"}  # a flat recipe, read from top to bottom, may have 70 lines

SOURCES = sorted(PACKAGE.rglob("*.py"))


def storey(room: str) -> int:
    return next(number for number, rooms in enumerate(STOREYS) if room in rooms)


def rooms_known(file: Path) -> set[str]:
    """Rooms of this package that a file imports from."""
    known = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fcn":
            parts = node.module.split(".")[1:]
            known |= {parts[0]} if parts else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            known |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("fcn.")}
    return known


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_room_knows_only_rooms_below_it(file: Path) -> None:
    room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        assert not rooms_known(file)
        return
    assert not {known for known in rooms_known(file) if known != room and storey(known) < storey(room)}


@pytest.mark.parametrize("module", WITHOUT_TENSORFLOW)
def test_import_needs_no_tensorflow(module: str) -> None:
    check = f"import sys, fcn.{module}; sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_and_functions_fit_on_their_pages(file: Path) -> None:
    text = file.read_text()
    assert text.count("\n") <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < (70 if node.name in RECIPES else 50), node.name


def test_nothing_happens_at_import() -> None:
    for file in SOURCES:
        for node in ast.parse(file.read_text()).body:
            calls = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            assert not calls, f"{file}:{node.lineno}"

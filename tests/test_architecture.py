"""The layers: a package imports only from the packages below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fcn"

LAYERS = (  # from the top; packages of one layer may import from each other
    {"__main__"},
    {"commands"},
    {"training", "explain"},
    {"report"},
    {"evaluation"},
    {"inference"},
    {"datasets"},
    {"runs"},
    {"pictures", "model"},
    {"images"},
    {"config"},
    {"files", "errors"},
)
WITHOUT_TENSORFLOW = (
    "commands",
    "config.settings",
    "config.yaml_file",
    "datasets",
    "images",
    "pictures",
    "files",
    "errors",
    "report.curves",
    "runs.paths",
    "runs.trained",
    "runs.environment",
    "runs.checkpoint",
    "datasets.class_weights",
    "evaluation.metrics",
    "evaluation.evaluate",
    "evaluation.kitti.benchmark",
    "evaluation.kitti.birds_eye",
    "evaluation.kitti.submission",
    "inference.sources",
    "model.weights",
)
SOURCES = sorted(PACKAGE.rglob("*.py"))


def layer(package: str) -> int:
    return next(number for number, packages in enumerate(LAYERS) if package in packages)


def packages_imported(file: Path) -> set[str]:
    """Packages of fcn that a file imports from."""
    known = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fcn":
            parts = node.module.split(".")[1:]
            known |= {parts[0]} if parts else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            known |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("fcn.")}
    return known


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_package_imports_only_from_layers_below(file: Path) -> None:
    package = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if package == "__init__":
        assert not packages_imported(file)
        return
    assert not {known for known in packages_imported(file) if known != package and layer(known) < layer(package)}


@pytest.mark.parametrize("module", WITHOUT_TENSORFLOW)
def test_import_needs_no_tensorflow(module: str) -> None:
    check = f"import sys, fcn.{module}; sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0


def test_nothing_happens_at_import() -> None:
    for file in (one for one in SOURCES if one.name != "__main__.py"):
        for node in ast.parse(file.read_text()).body:
            calls = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            assert not calls, f"{file}:{node.lineno}"

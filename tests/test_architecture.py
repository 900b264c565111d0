"""The layers: a package imports only from the packages below it, and most modules need no TensorFlow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "fcn"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")

LAYERS = (  # from the top; packages of one layer may import from each other
    {"commands"},
    {"training", "explain", "export"},
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
LAYER = {package: number for number, packages in enumerate(LAYERS) for package in packages}
WITH_TENSORFLOW = (
    *("fcn.training", "fcn.explain", "fcn.evaluation.cost"),
    *("fcn.inference.keras_network", "fcn.model.inference_form"),
    *("fcn.model.convolutionalize", "fcn.model.devices", "fcn.model.fcn", "fcn.model.vgg"),
    *("fcn.model.pretrained", "fcn.report.tensorboard"),
)


def packages_imported(file: Path) -> set[str]:
    """Packages of fcn that a file imports from."""
    modules: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    return {module.split(".")[1] for module in modules if module.startswith("fcn.")}


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_package_imports_only_from_layers_below(file: Path) -> None:
    package = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    imported = packages_imported(file) - {package}
    assert not [other for other in imported if package == "__init__" or LAYER[other] < LAYER[package]]


def test_importing_other_modules_loads_no_tensorflow() -> None:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in SOURCES]
    light = [name for name in names if not name.startswith(WITH_TENSORFLOW)]
    lines = ["import sys"]
    lines += [f"import {name}; assert not {{'tensorflow', 'keras'}} & sys.modules.keys(), '{name}'" for name in light]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_happens_at_import() -> None:
    for file in SOURCES:
        for node in ast.parse(file.read_text()).body:
            calls = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            assert not calls, f"{file}:{node.lineno}"

"""Commands in documents and configs are accepted by the scripts, README's example runs, its tree is what lies there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from fcn.commands import build_parser
from fcn.config.yaml_file import load_config
from fcn.images import write_image

README = (ROOT / "README.md").read_text()
RECIPES = (ROOT / "docs" / "recipes.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("fcn/pretrained/*.md"), *ROOT.glob("configs/*.yaml")]
# in a line of its own, a comment or a text
COMMAND = re.compile(r"(?:^|# +|`|bin/)python (scripts/\w+\.py [^`\n]*?)(?=  |`|$)", re.M)
COMMANDS = sorted({command for path in DOCUMENTS for command in COMMAND.findall(path.read_text())})


def test_there_are_commands_for_every_script() -> None:
    scripts = {str(path.relative_to(ROOT)) for path in (ROOT / "scripts").glob("*.py")}
    assert {script for script in scripts if f"python {script}" in README} == scripts


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_accepted_and_its_config_is_sound(command: str) -> None:
    script, *words = shlex.split(command)
    arguments = build_parser().parse_args([Path(script).stem.replace("_", "-"), *words])
    if getattr(arguments, "config", None) or getattr(arguments, "set", None):
        load_config(arguments.config and ROOT / arguments.config, arguments.set)


def test_changes_in_the_table_of_recipes_are_settings() -> None:
    rows = re.findall(r"^\| (`[a-z]+\..*?) \|", RECIPES, re.M)
    assert rows
    for row in rows:
        load_config(ROOT / "configs" / "camvid.yaml", re.findall(r"`(.*?)`", row))


def test_python_example_runs(smoke_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ((_, example),) = [block for block in BLOCKS if block[0] == "python"]
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "photo.jpg", np.zeros((33, 47, 3), np.uint8))
    names: dict[str, np.ndarray] = {}
    exec(example.replace("runs/road", str(smoke_run)), names)  # noqa: S102
    assert names["road"].shape == (33, 47)
    assert len(example.strip().splitlines()) <= 6


def test_make_targets_are_those_of_the_makefile() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake (demo|test|lint|\w+)\s{2,}#", README)) <= targets

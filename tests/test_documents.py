"""The documents hold: commands parse, the example runs, links lead somewhere, the module tree is what lies there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from test_architecture import LAYERS

from fcn.commands.parser import COMMANDS, build_parser
from fcn.config.yaml_file import find_config, load_config
from fcn.images import write_image

README = (ROOT / "README.md").read_text()
LAYOUT = (ROOT / "docs" / "layout.md").read_text()
PAGES = sorted(page for folder in (".", "docs", "data", "fcn/pretrained") for page in (ROOT / folder).glob("*.md"))
CONFIGS = sorted(ROOT.glob("configs/*.yaml"))

CALL = re.compile(r"(?:\.venv/bin/)?(?:python scripts/(?P<script>\w+)\.py|(?:python -m )?fcn)(?: (?P<rest>.+)|$)")


def code_lines(path: Path) -> list[str]:
    """Lines of fenced blocks and inline code of a page, without what follows two spaces; comments of a YAML file."""
    text = path.read_text()
    if path.suffix == ".yaml":
        return [line.lstrip("# ") for line in text.splitlines() if line.startswith("# ")]
    fences = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [re.split(r"  +", line)[0] for line in [*"\n".join(fences).splitlines(), *spans]]


def calls() -> set[str]:
    """Arguments of `fcn` in every call in pages and configs, the command first; a command's bare name is left out."""
    found = set()
    for path in [*PAGES, *CONFIGS]:
        for line in code_lines(path):
            call = CALL.match(line)
            if call is None:
                continue
            words = [call["script"].replace("_", "-")] if call["script"] else []
            words += shlex.split(call["rest"] or "")
            if len(words) > 1 or call["script"]:
                found.add(shlex.join(words))
            elif words:
                assert words[0] in COMMANDS, f"{path}: {line}"
    return found


@pytest.mark.parametrize("call", sorted(calls()))
def test_command_in_a_document_is_accepted_and_its_config_is_valid(call: str) -> None:
    arguments = build_parser().parse_args(shlex.split(call))
    config = getattr(arguments, "config", None)
    if config == "data/mine/config.yaml":  # import-labels writes it, with this recipe
        config = "folder"
    if config is not None:
        config = ROOT / find_config(str(config))
    if config is not None or getattr(arguments, "set", None):
        load_config(config, arguments.set)


def test_every_command_is_shown() -> None:
    shown = {line.split()[1] for path in PAGES for line in code_lines(path) if re.match(r"fcn [\w-]+", line)}
    assert shown >= set(COMMANDS)


def test_settings_in_the_tables_of_recipes_exist() -> None:
    rows = re.findall(r"^\| (`[a-z]+\..*?) \|", (ROOT / "docs" / "recipes.md").read_text(), re.M)
    assert rows
    for row in rows:
        load_config(ROOT / "configs" / "camvid.yaml", re.findall(r"`(.*?)`", row))


def test_python_example_runs(smoke_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(example.strip().splitlines()) <= 6
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "photo.jpg", np.zeros((33, 47, 3), np.uint8))
    names: dict[str, np.ndarray] = {}
    exec(example.replace("runs/mine", str(smoke_run)), names)  # noqa: S102
    assert names["labels"].shape == names["road"].shape == (33, 47)


def test_make_targets_are_those_of_the_makefile() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    shown = {line.split()[1] for path in PAGES for line in code_lines(path) if line.startswith("make ")}
    assert {"demo", "test"} <= shown <= targets


def test_readme_is_short_and_opens_with_what_fcn_is_and_a_picture() -> None:
    title, sentence, picture = README.split("\n\n")[:3]
    assert (title, sentence.count(". ")) == ("# fcn", 0)
    assert picture.startswith("![")
    assert len(README.split()) <= 1300


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_tests_and_functions_named_exist(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    for name in re.findall(r"\btest_\w+\.py", text):
        assert (ROOT / "tests" / name).is_file(), name
    for file, name in re.findall(r"`(fcn/[\w/]+\.py)::(\w+)`", text):
        assert re.search(rf"^(?:def |class ){name}\b|^{name}\b", (ROOT / file).read_text(), re.M), f"{file}::{name}"


def test_layout_names_every_module_once() -> None:
    tree = re.search(r"## Modules\n\n```\n(.*?)```", LAYOUT, re.DOTALL)
    assert tree is not None
    named = []
    for line in tree[1].splitlines():
        word = line.split()[0]
        if word.endswith("/"):
            folder = word
        else:
            named.append(folder + word)
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "fcn").rglob("*.py")}
    packages = {name for name in there if name.endswith("/__init__.py")}  # most hold one line; naming one is free
    assert len(named) == len(set(named))
    assert (there - packages) - set(named) == set(), "missing in docs/layout.md"
    assert set(named) - there == set(), "gone, but in docs/layout.md"


def test_layers_in_the_layout_are_those_under_test() -> None:
    block = re.search(r"holds that:\n\n```\n(.*?)```", LAYOUT, re.DOTALL)
    assert block is not None
    layers = [set(line.split(", ")) for line in block[1].splitlines()]
    assert layers == [layer for layer in LAYERS if layer != {"__main__"}]

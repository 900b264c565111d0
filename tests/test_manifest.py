"""Only what a manifest vouches for counts, and a run that has lost every checkpoint never starts again in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fcn.errors import RunStoppedError
from fcn.runs.manifest import (
    checkpoint_name,
    checkpoints,
    find_damage,
    newest_whole,
    read_manifest,
    write_manifest,
)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[int], Path]:
    def make(step: int) -> Path:
        path = tmp_path / checkpoint_name(step, evaluated=False)
        path.mkdir()
        (path / "a.data").write_bytes(b"numbers")
        (path / "b.index").write_bytes(b"names")
        write_manifest(path, {"name": path.name, "step": step, "environment": {"python": "3"}})
        return path

    return make


def test_manifest_holds_the_record_and_what_every_file_is(make: Callable[[int], Path]) -> None:
    manifest = read_manifest(make(3))
    assert len(manifest.pop("sha256")) == 64
    assert manifest == {
        "name": "step-0000000003",
        "step": 3,
        "environment": {"python": "3"},
        "files": {  # of `printf numbers | sha256sum`, and names
            "a.data": {
                "bytes": 7,
                "sha256": "f3c7807d475073ba009bf4801b2d934e9f0126cb96dd19a27dbffcae23a7f5a3",
            },
            "b.index": {
                "bytes": 5,
                "sha256": "aeb24056810d3d1f1e8afee61a0bc0028556eb0fb49a215ae5eb1b970cad0315",
            },
        },
    }


def spoil(path: Path, damage: str) -> None:
    data, manifest = path / "a.data", path / "manifest.json"
    record = json.loads(manifest.read_bytes())
    if damage == "flipped":
        data.write_bytes(b"nvmbers")
    elif damage == "longer":
        data.write_bytes(b"numbers\0")
    elif damage == "empty":
        data.write_bytes(b"")
    elif damage == "missing":
        data.unlink()
    elif damage == "added":
        (path / "c").touch()
    elif damage == "no manifest":
        manifest.unlink()
    elif damage == "deep manifest":
        manifest.write_text("[" * 100_000)
    else:
        manifest.write_text(json.dumps({**record, "step": 2}))


DAMAGES = {
    "flipped": "a.data is not what was saved",
    "longer": "a.data is not what was saved",
    "empty": "a.data is not what was saved",
    "missing": "a.data is missing or was added",
    "added": "c is missing or was added",
    "no manifest": "its manifest or a file of it cannot be read",
    "deep manifest": "its manifest or a file of it cannot be read",
    "edited manifest": "manifest.json is not what was saved",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_named(damage: str, make: Callable[[int], Path]) -> None:
    path = make(1)
    assert find_damage(path) is None
    spoil(path, damage)
    assert find_damage(path).startswith(DAMAGES[damage])


def test_renamed_checkpoint_does_not_count(make: Callable[[int], Path], tmp_path: Path) -> None:
    renamed = make(1).rename(tmp_path / "step-0000000002")
    assert find_damage(renamed) == "it was saved as step-0000000001"


@pytest.mark.parametrize("text", ["", "{]", "[]", "3", "null", "{}", '{"sha256": 3}'])
def test_garbage_for_a_manifest_is_damage(text: str, make: Callable[[int], Path]) -> None:
    path = make(1)
    (path / "manifest.json").write_text(text)
    assert find_damage(path) is not None


def test_newest_whole_one_is_found_and_the_damaged_before_it_set_aside(
    make: Callable[[int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third, fourth = (make(step) for step in (9, 10, 100, 1000))
    (tmp_path / "bad-step-0000001000" / "state").mkdir(parents=True)  # of an earlier accident with this step
    spoil(third, "flipped")
    spoil(fourth, "no manifest")
    assert newest_whole(tmp_path) == second
    assert checkpoints(tmp_path) == [first, second]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{fourth}: its manifest or a file of it cannot be read (")
    assert lines[0].endswith("; set aside as bad-step-0000001000")
    assert lines[1:] == [f"{third}: a.data is not what was saved; set aside as bad-step-0000000100"]
    assert find_damage(tmp_path / "bad-step-0000000100") is not None  # as it was, to be looked at


def test_no_whole_checkpoint_is_an_error_each_time_never_a_fresh_start(
    make: Callable[[int], Path], tmp_path: Path
) -> None:
    assert newest_whole(tmp_path) is None
    (tmp_path / ".part-step-0000000005").mkdir()  # a first save that was broken off
    assert newest_whole(tmp_path) is None
    for step in (1, 2):
        spoil(make(step), "empty")
    for _ in range(2):
        with pytest.raises(RunStoppedError, match="no checkpoint is whole; start a new run"):
            newest_whole(tmp_path)


def test_names_sort_by_age_and_others_do_not_count(tmp_path: Path) -> None:
    ages = [(1, False), (9, True), (10, False), (10, True), (2**31 - 1, False)]
    names = [checkpoint_name(*age) for age in ages]
    for name in [
        *reversed(names),
        "step-0000000010.bak",
        "step-10",
        "step-0000000010-evaluated2",
        ".part-step-0000000011",
    ]:
        (tmp_path / name).mkdir()
    assert [path.name for path in checkpoints(tmp_path)] == names

"""The table and the picture of runs show what their files hold."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import Script, make_run

from fcn.config.settings import Config
from fcn.errors import UserError
from fcn.report.curves import curve_table, read_curve
from fcn.runs.paths import RunPaths


def run(path: Path, scores: dict[int, float]) -> RunPaths:
    folder = make_run(path, Config())
    rows: list[dict[str, object]] = [{"step": 1, "loss": 2.0}]
    for step, miou in scores.items():
        rows.append({"step": step, "miou": miou, "iou": {"sky": miou / 2, "sea": None}, "run_seconds": 30.0 * step})
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_runs_are_side_by_side_at_the_steps_they_share(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one", {2: 0.2, 3: 0.25, 4: 0.5}), run(tmp_path / "two", {2: 0.4, 4: 0.7})
    table = curve_table({"one": read_curve(one), "two": read_curve(two)})
    assert [line.split() for line in table.splitlines()] == [
        ["run", "1:", "one"],
        ["run", "2:", "two"],
        ["run", "1", "run", "2", "mean", "lowest", "highest"],
        ["minutes", "2.0", "2.0"],
        ["miou,", "step", "2", "0.200", "0.400", "0.300", "0.200", "0.400"],
        ["miou,", "step", "4", "0.500", "0.700", "0.600", "0.500", "0.700"],
        ["iou", "sky", "0.250", "0.350", "0.300", "0.250", "0.350"],
        ["iou", "sea", *"-----"],
    ]
    assert len({len(line) for line in table.splitlines()[4:]}) == 1  # columns
    assert curve_table({"one": read_curve(one)}).splitlines()[-1].split() == ["iou", "sea", "-"]
    with pytest.raises(UserError, match=r"^one, three: share no evaluated step, or differ in classes; name"):
        curve_table({"one": read_curve(one), "three": read_curve(run(tmp_path / "three", {7: 0.1}))})


def test_rows_that_were_cut_off_are_left_out_and_damaged_ones_named(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", {2: 0.2})
    with folder.metrics.open("a") as file:
        file.write('{"step": 5, "mi')  # by a full disk
    assert list(read_curve(folder)) == [2]
    for damaged in ("[1]", '{"miou": 1}', '{"step": null}', '{"step": 1e999}', "[" * 100_000):
        folder.metrics.write_text(damaged + "\n")
        with pytest.raises(UserError, match=r"metrics\.jsonl: is damaged .*; resume or repeat the run"):
            read_curve(folder)
    for score in ('"high"', "[]", "1e400x", "1e308", "NaN", "true"):
        folder.metrics.write_text(f'{{"step": 1, "miou": 0.5, "iou": {{"a": {score}}}, "run_seconds": 1.0}}\n')
        with pytest.raises(UserError, match=r"metrics\.jsonl: .*; resume or repeat the run"):
            read_curve(folder)
    for untimed in ("", '{"step": 2, "miou": 0.2, "iou": {}}\n'):
        folder.metrics.write_text(untimed)
        with pytest.raises(UserError, match="has no timed evaluation; train until the first one"):
            read_curve(folder)


def test_script_prints_scores_and_settings_that_differ_and_draws_a_line_for_each_run(
    tmp_path: Path, script: Script
) -> None:
    paths = [run(tmp_path / "a", {2: 0.2, 4: 0.4}).directory, run(tmp_path / "b", {2: 0.3, 4: 0.5}).directory]
    config = RunPaths(paths[1]).config
    config.write_text(config.read_text().replace("  seed: 0\n", "  seed: 7\n"))
    out = tmp_path / "curves.svg"
    done = script("compare", *paths, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    table = curve_table({str(path): read_curve(RunPaths(path)) for path in paths})
    assert done.stdout == f"{table}\nsettings that differ:\n  train.seed: 0, 7\ncurves: {out}\n"
    assert out.read_text().count("<polyline") == 2
    ElementTree.fromstring(out.read_text())  # noqa: S314 - of our own file
    assert script("compare", paths[0]).stdout == curve_table({str(paths[0]): read_curve(RunPaths(paths[0]))}) + "\n"
    done = script("compare", *paths, "--out", tmp_path / "curves.gif")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "name a file NAME.svg" in done.stderr

"""The table and the picture of runs show what their rows hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import Script, make_run

from fcn.config.settings import Config
from fcn.errors import UserError
from fcn.images import read_image
from fcn.report.curves import curve_table, plot_curves, read_curve
from fcn.runs.paths import RunPaths


def run(path: Path, scores: dict[int, float]) -> RunPaths:
    folder = make_run(path, Config())
    rows: list[dict[str, object]] = [{"step": 1, "loss": 2.0}]
    for step, miou in scores.items():
        rows.append({"step": step, "miou": miou, "iou": {"sky": miou / 2, "sea": None}, "run_seconds": 30.0 * step})
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_runs_are_averaged_at_the_steps_they_share(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one", {2: 0.2, 3: 0.25, 4: 0.5}), run(tmp_path / "two", {2: 0.4, 4: 0.7})
    table = curve_table({"one": read_curve(one), "two": read_curve(two)})
    assert [line.split() for line in table.splitlines()] == [
        ["2", "runs", "minutes", "mean", "lowest", "highest"],
        ["miou,", "step", "2", "1.0", "0.300", "0.200", "0.400"],
        ["miou,", "step", "4", "2.0", "0.600", "0.500", "0.700"],
        ["iou", "sky", "0.300", "0.250", "0.350"],
        ["iou", "sea", "-"],
    ]
    assert len({len(line) for line in table.splitlines()[:-1]}) == 1  # columns
    assert curve_table({"one": read_curve(one)}).startswith("1 run  ")
    with pytest.raises(UserError, match=r"^one, three: share no evaluated step, or differ in classes; name"):
        curve_table({"one": read_curve(one), "three": read_curve(run(tmp_path / "three", {7: 0.1}))})


def test_each_run_is_a_line_in_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = {name: read_curve(run(tmp_path / name, {2: score, 4: 0.5})) for name, score in (("a", 0.2), ("b", 0.4))}
    plot_curves(curves, tmp_path / "both.png")
    plot_curves({"a": curves["a"]}, tmp_path / "less.png")
    both, less = (read_image(tmp_path / f"{name}.png") for name in ("both", "less"))
    assert both.shape == less.shape
    assert (both != less).any(axis=-1).sum() > 100  # another line and its name
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match="needs matplotlib; install it with"):
        plot_curves(curves, tmp_path / "both.png")


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


def test_script_prints_the_table_and_plots_to_a_png_only(tmp_path: Path, script: Script) -> None:
    path = run(tmp_path / "run", {2: 0.2}).directory
    out = tmp_path / "curves.png"
    done = script("plot_runs", path, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == curve_table({"": read_curve(RunPaths(path))}) + f"\ncurves: {out}\n"
    assert out.is_file()
    done = script("plot_runs", path, "--out", tmp_path / "curves.gif")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "name a file NAME.png" in done.stderr

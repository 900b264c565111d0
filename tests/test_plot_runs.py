"""The table and the picture of runs say what their rows say."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Script

from fcn.config import Config
from fcn.images import read_image
from fcn.run import RunFolder


def run(path: Path, scores: dict[int, float]) -> Path:
    folder = RunFolder(path)
    folder.create(Config())
    rows = [
        {"step": step, "miou": miou, "iou": {"sky": miou / 2, "sea": None}, "run_seconds": 30.0 * step}
        for step, miou in scores.items()
    ]
    folder.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in [{"step": 1, "loss": 2.0}, *rows]))
    return path


def test_runs_are_averaged_at_the_steps_they_share(tmp_path: Path, script: Script) -> None:
    one, two = run(tmp_path / "one", {2: 0.2, 3: 0.25, 4: 0.5}), run(tmp_path / "two", {2: 0.4, 4: 0.7})
    done = script("plot_runs", one, two, "--out", tmp_path / "curves.png")
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[1:-1]] == [
        ["2", "1.0", "0.300", "0.200", "0.400"],
        ["4", "2.0", "0.600", "0.500", "0.700"],
        ["iou", "sky", "0.300", "0.250", "0.350"],
        ["iou", "sea", "-"],
    ]
    assert script("plot_runs", two, "--out", tmp_path / "less.png").returncode == 0
    both, less = (read_image(tmp_path / name) for name in ("curves.png", "less.png"))
    assert both.shape == less.shape
    assert (both != less).any(axis=-1).sum() > 100  # another curve and its name
    done = script("plot_runs", one, run(tmp_path / "three", {7: 0.1}))
    assert done.returncode == 2
    assert done.stderr.startswith(
        "the runs have no evaluated step in common, or other classes; name runs of one recipe"
    )
    with (one / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "mi')  # cut off by a full disk
    done = script("plot_runs", one, "--out", tmp_path / "curves.gif")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "name a file NAME.png" in done.stderr
    assert script("plot_runs", one).returncode == 0

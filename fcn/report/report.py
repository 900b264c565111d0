"""A trained network and a split -> one page to look at, and its figures as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from importlib import metadata
from operator import attrgetter
from pathlib import Path
from typing import Any

from fcn.config.settings import Config
from fcn.config.yaml_file import changed_keys, settings
from fcn.datasets.dataset import Dataset
from fcn.errors import UserError
from fcn.evaluation.evaluate import Scores, evaluate_trained
from fcn.files import read_file, write_file
from fcn.inference.predictor import Predictor
from fcn.report.curves import read_rows_of
from fcn.report.frames import ShownFrame, choose_frames, show_frame
from fcn.report.page import page
from fcn.runs.environment import processor_name
from fcn.runs.log import INVALID_JSON
from fcn.runs.paths import RunPaths
from fcn.runs.trained import TrainedModel

MAX_BYTES = 2**20  # of environment.json
PACKAGES = ("tensorflow", "keras", "numpy", "pillow")


def write_report(
    trained: TrainedModel,
    config: Config,
    dataset: Dataset,
    baseline: Scores | None,
    out: Path,
    run: RunPaths | None = None,
) -> list[str]:
    """Scores a network on a split and writes the page `out` and, next to it as NAME.json, all of its figures.

    `baseline`: scores of the color-lookup baseline on the split. `run`: where the network was trained, if it is known.
    Returns a line for each problem. Raises UserError where a file of the run is damaged.
    """
    about = describe_run(run) if run is not None else {}
    scores, predictor, problems = evaluate_trained(trained, config, dataset)
    figures: dict[str, Any] = {
        "weights": trained.description(),
        **{key: trained.record[key] for key in ("step", "sha256") if key in trained.record},
        "scored": describe_scoring(),
        **scores,
        "baseline": baseline,
        **about,
        "changes": trained.changes(),
        "config": describe_config(config),
    }
    shown = show_frames(figures, dataset, predictor)
    write_file(out.with_suffix(".json"), json.dumps(figures, indent=1) + "\n")
    write_file(out, page(figures, dataset.classes, shown))
    return problems


def describe_run(run: RunPaths) -> dict[str, Any]:
    """`curves` of a run, `minutes` of training, and its `environment`."""
    training, evaluations = read_rows_of(run)
    try:
        environment = dict(json.loads(read_file(run.environment, MAX_BYTES))) if run.environment.exists() else {}
    except INVALID_JSON as error:
        raise UserError(f"{run.environment}: is damaged ({error}); remove it") from error
    last = max((row.get("run_seconds", 0.0) for row in (*training, *evaluations)), default=0.0)
    return {
        "curves": {
            "training": [{key: row[key] for key in ("step", "loss", "learning_rate")} for row in training],
            "evaluations": [{key: row[key] for key in ("step", "miou", "iou")} for row in evaluations],
        },
        "minutes": last / 60,
        "environment": environment,
    }


def describe_scoring() -> dict[str, str]:
    """Where and when a network is scored."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {"date": time.strftime("%Y-%m-%d"), "processor": processor_name(), **versions}


def describe_config(config: Config) -> list[dict[str, Any]]:
    """Each setting: `key`, `value`, `default`, and whether it is `changed`."""
    changed = changed_keys(Config(), config)
    return [
        {"key": key, "value": attrgetter(key)(config), "default": attrgetter(key)(Config()), "changed": key in changed}
        for key in settings()
    ]


def show_frames(figures: dict[str, Any], dataset: Dataset, predictor: Predictor) -> dict[str, Sequence[ShownFrame]]:
    """The `worst` and the `best` frames; a split of few has fewer of the latter."""
    worst, best = choose_frames(figures["per_frame"])
    return {
        title: [show_frame(dataset, index, figures["per_frame"][index], predictor.labels) for index in indices]
        for title, indices in (("worst", worst), ("best", best))
    }

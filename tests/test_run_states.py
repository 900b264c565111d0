"""Whatever happens to a run, in any order: it continues to the bits of an uninterrupted one, or is lost loudly.

`pytest --hypothesis-profile=long tests/test_run_states.py` tries 200 sequences in place of a few.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fcn.commands.parser import build_parser
from fcn.errors import RunInterruptedError, RunStoppedError, UserError
from fcn.files import PART
from fcn.inference.predictor import load_predictor
from fcn.runs import trained
from fcn.runs.checkpoint import STATE, find_damage, list_checkpoints
from fcn.runs.log import read_rows
from fcn.runs.trained import TrainedModel
from fcn.training import loop

# eager mode: compiling takes seconds and changes the last bits only
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`"),
]

STEPS = 6
SETTINGS = (
    "data.synthetic_frames=[3,1,1]",
    "data.synthetic_size=[32,64]",
    "augment.crop_size=[32,48]",
    "model.encoder=vgg11",
    "model.width=0.02",
    "model.head_units=4",
    "model.dropout=0.5",
    f"train.steps={STEPS}",
    "train.batch_size=1",
    "train.ema_decay=0.9",
    "train.log_steps=1",
    "train.evaluate_steps=2",
    "train.checkpoint_steps=1",
    "train.keep_checkpoints=3",
    "train.pictures=1",
)
PLACE = st.floats(0, 1, exclude_max=True)
RECORDS = ("config.yaml", "metrics.jsonl", "best.json", "best.weights.h5", "environment.json")


def train(folder: Path, *words: str, stop_at: int | None = None, number: int | None = None) -> BaseException | None:
    """As `fcn train --resume`; how it ended: None if the run is complete.

    After the first row of step `stop_at` the process gets the signal `number`, or is killed without one.
    """
    report = loop.report

    def report_and_stop(log: Any, progress: Any, **row: Any) -> None:
        report(log, progress, **row)
        if row["step"] == stop_at and number is not None:
            os.kill(os.getpid(), number)
        elif row["step"] == stop_at:
            raise SystemError("killed")

    options = [word for setting in SETTINGS for word in ("--set", setting)]
    arguments = build_parser().parse_args(["train", "--resume", "--run-dir", str(folder), *options, *words])
    with mock.patch.object(loop, "report", report_and_stop), mock.patch.object(loop, "configure_tensorflow"):
        tf.keras.utils.set_random_seed(0)  # what configure_tensorflow does, but it came too late in this process
        try:
            arguments.call(arguments)
        except (UserError, RunStoppedError, RunInterruptedError, SystemError) as error:
            return error
    return None


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows without what depends on the clock."""
    rows = read_rows(folder / "metrics.jsonl")
    return [{key: row[key] for key in row if not key.endswith(("_seconds", "_per_second"))} for row in rows]


def tensors_of(folder: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(list_checkpoints(folder / "checkpoints")[-1] / STATE))
    names = reader.get_variable_to_shape_map().keys() - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    return {name: reader.get_tensor(name) for name in names}


class Run(RuleBasedStateMachine):
    """A run folder, what was done to it, and what must hold."""

    expected: tuple[list[dict[str, Any]], dict[str, np.ndarray]]

    @initialize()
    def begin(self) -> None:
        """Nothing is there."""
        self.folder = Path(tempfile.mkdtemp()) / "run"

    def teardown(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder.parent)

    def check(self, error: BaseException | None) -> None:
        """What must hold after a command trained."""
        if isinstance(error, RunStoppedError):  # only where nothing valid is left, and again the next time
            assert not self.has_valid_checkpoint(), error
            assert isinstance(train(self.folder), RunStoppedError)
            return
        assert not isinstance(error, UserError), error
        rows, tensors = self.expected
        found = rows_of(self.folder)
        assert found == rows[: len(found)]
        if error is None:
            assert len(found) == len(rows)
            for name, value in tensors_of(self.folder).items():
                np.testing.assert_array_equal(value, tensors[name])

    def has_valid_checkpoint(self) -> bool:
        """Whether something is left to continue from."""
        return any(find_damage(path) is None for path in list_checkpoints(self.folder / "checkpoints"))

    @rule(stop_at=st.integers(1, STEPS), number=st.sampled_from([signal.SIGTERM, signal.SIGINT, None]))
    def train_until(self, stop_at: int, number: int | None) -> None:
        """Trains until a step, and is interrupted or killed."""
        self.check(train(self.folder, stop_at=stop_at, number=number))

    @rule()
    def train_to_the_end(self) -> None:
        """Trains, and is not interrupted."""
        self.check(train(self.folder))

    @precondition(lambda self: self.folder.exists())
    @rule()
    def change_a_setting(self) -> None:
        """Another seed is refused, and changes nothing."""
        before = self.contents()
        error = train(self.folder, "--set", "train.seed=1")
        assert isinstance(error, UserError | RunStoppedError)
        assert isinstance(error, RunStoppedError) or self.contents() == before

    @precondition(lambda self: self.folder.exists())
    @rule(share=PLACE, how=st.sampled_from(["flip", "cut", "delete"]), place=PLACE)
    def damage_a_file(self, share: float, how: str, place: float) -> None:
        """A bit of a file flips, or it is cut off, or deleted; what is drawn must not depend on the files."""
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.name != "config.yaml"]
        if not files:
            return
        file = files[int(share * len(files))]
        content = bytearray(file.read_bytes())
        if how == "delete" or not content:
            file.unlink()
        elif how == "cut":
            file.write_bytes(content[: len(content) // 2])
        else:
            content[int(place * len(content))] ^= 4
            file.write_bytes(content)

    @precondition(lambda self: self.folder.exists())
    @rule(name=st.sampled_from(["checkpoints", "pictures"]))
    def delete_a_folder(self, name: str) -> None:
        """A folder is gone."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    @precondition(lambda self: self.folder.exists())
    @rule()
    def use_the_weights(self) -> None:
        """Weights are those of their record, or refused."""
        try:
            found = TrainedModel.of_run(self.folder)
            load_predictor(self.folder).labels(np.zeros((32, 64, 3), np.uint8))
        except UserError:
            return
        rows = [row for row in self.expected[0] if row["step"] == found.record["step"] and "miou" in row]
        assert found.record["miou"] == rows[0]["miou"]

    @invariant()
    def nothing_partial_has_a_name(self) -> None:
        """No temporary file is left by what ended in order."""
        if hasattr(self, "folder") and self.folder.exists():
            assert not list(self.folder.rglob(f"{PART}*"))

    def contents(self) -> dict[str, bytes]:
        """What a refused command may not change; a damaged checkpoint may be set aside."""
        return {name: (self.folder / name).read_bytes() for name in RECORDS if (self.folder / name).is_file()}


@pytest.fixture(scope="module", autouse=True)
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    tf.config.run_functions_eagerly(True)
    with mock.patch.object(trained, "WAITS", (0,)), mock.patch.dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2"):
        folder = tmp_path_factory.mktemp("uninterrupted") / "run"
        assert train(folder) is None
        Run.expected = (rows_of(folder), tensors_of(folder))
        yield
    tf.config.run_functions_eagerly(False)


TestRun = Run.TestCase
LONG = settings.get_current_profile_name() == "long"
TestRun.settings = settings(
    max_examples=200 if LONG else 5, stateful_step_count=12 if LONG else 8, phases=[Phase.generate]
)

"""Training on 500, 5,000 and 50,000 frames: a run must start fast and its steps take as long, however many there are.

    python tests/scale.py [--folder /tmp/fcn-scale] [--frames 500 5000 50000] [--steps 60] [--tables starts cache costs]

Writes the frames once (0.9 GB), trains a tiny network on them, each time in a process of its own, and prints three
tables. Starts and steps are those that a user sees: the lines of `fcn train` with the time at which they come.
docs/scale.md explains the tables.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from PIL import Image

from fcn.config.settings import DataConfig
from fcn.datasets import open_split
from fcn.datasets.synthetic import CLASSES
from fcn.images import Array

ROOT = Path(__file__).parents[1]
SIZE = (240, 320)  # (height, width) in pixels
SCENES = 128  # that differ; a frame is one of them, shifted, brighter or darker
VALIDATION = 64  # frames, whatever the number of those for training: an evaluation reads all of them
CACHES = (0, 50, 2048)  # megabytes
EPOCHS = 4  # that show the cache: the first one finds nothing in it
WARM_UP = 10  # steps that are not counted
SETTINGS = (
    "data.kind=folder",
    "data.labels=all",
    f"data.class_names=[{','.join(one.name for one in CLASSES)}]",
    "data.ignore_values=[255]",
    "augment.crop_size=[96,128]",
    "model.encoder=vgg11",
    "model.width=0.0625",
    "model.head_units=32",
    "train.batch_size=8",
    "train.class_weights=median_frequency",
    "train.statistics_frames=8",
    "train.log_steps=1",
    "train.evaluate_steps=100000",  # only the last step
    "train.checkpoint_steps=100000",
)


class Start(NamedTuple):
    """A training as its user sees it."""

    seconds: float  # until the first step is done
    step: float  # milliseconds, median
    memory: int  # peak, in megabytes
    frames: str  # the line about the check of the frames


@lru_cache(SCENES)
def scene(split: str, number: int) -> tuple[Array, Array]:
    """Image and label of a generated road."""
    return open_split(DataConfig(labels="all", synthetic_size=SIZE), split).read(number)


def write_frames(folder: Path, split: str, indices: range) -> None:
    """Writes images/SPLIT/NUMBER.jpg and masks/SPLIT/NUMBER.png, without waiting for the disk."""
    for index in indices:
        image, label = scene(split, index % SCENES)
        shift = index // SCENES
        image = np.roll(image, shift, axis=1)
        image = np.clip(image.astype(np.int16) + shift % 41 - 20, 0, 255).astype(np.uint8)
        for part, array, ending in (("images", image, "jpg"), ("masks", np.roll(label, shift, axis=1), "png")):
            buffer = io.BytesIO()
            Image.fromarray(array).save(buffer, "JPEG" if ending == "jpg" else "PNG")
            (folder / part / split / f"{index:06d}.{ending}").write_bytes(buffer.getvalue())


def make(folder: Path, frames: int) -> Path:
    """A data set in `folder`, written once."""
    done = folder / str(frames)
    if done.exists():
        return done
    started = time.perf_counter()
    partly = folder / f"{frames}.part"
    shutil.rmtree(partly, ignore_errors=True)
    for part in ("images", "masks"):
        for split in ("train", "val"):
            (partly / part / split).mkdir(parents=True)
    write_frames(partly, "val", range(VALIDATION))
    pieces = [range(first, min(first + 1000, frames)) for first in range(0, frames, 1000)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(partial(write_frames, partly, "train"), pieces))
    partly.rename(done)
    print(f"{frames:,} frames written in {time.perf_counter() - started:.0f} s", flush=True)
    return done


def train(data: Path, run: Path, steps: int, *settings: str) -> Start:
    """Trains in a process of its own, or resumes."""
    settings = (*SETTINGS, f"data.root={data}", f"train.steps={steps}", *settings)
    words = [word for setting in settings for word in ("--set", setting)]
    words += ["--resume", "--allow-changed", "train.steps"]
    command = [sys.executable, ROOT / "scripts/train.py", "--run-dir", run, *words]
    environment = {**os.environ, "XDG_CACHE_HOME": str(run.parent)}
    started = time.perf_counter()
    clock = []
    output = []
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            output.append(line)
            if line.startswith("step ") and ": loss " in line:
                clock.append(time.perf_counter())
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, "".join(output)
    milliseconds = 1000 * median(after - before for before, after in pairwise(clock[WARM_UP:]))
    (frames,) = [line.strip() for line in output if line.startswith("frames: ")]
    return Start(clock[0] - started, milliseconds, used.ru_maxrss // 1000, frames)


def print_starts(folders: dict[int, Path], runs: Path, steps: int) -> None:
    """Seconds until the first step of a first start, of one over unchanged frames, and of a resumed run."""
    print(f"{'frames':>7}  {'start':<8}{'seconds':>8}{'step, ms':>9}{'peak, MB':>9}  frames")
    for frames, data in folders.items():
        for kept in data.glob(".fcn-frames-*"):
            kept.unlink()
        run = runs / f"{frames}"
        starts = {"first": (run, steps), "second": (runs / "again", steps), "resumed": (run, 2 * steps)}
        for kind, (folder, last) in starts.items():
            one = train(data, folder, last)
            row = f"{frames:>7,}  {kind:<8}{one.seconds:>8.1f}{one.step:>9.1f}{one.memory:>9,}"
            print(f"{row}  {one.frames.removeprefix('frames: ')}", flush=True)
        shutil.rmtree(runs / "again")


def print_cache(folders: dict[int, Path], runs: Path, _: int) -> None:
    """Time of a step without a cache, with one that the frames do not fit into, and with the default, in turns."""
    print(f"{'frames':>7}{'decoded, MB':>13}{'cache, MB':>11}{'step, ms':>10}{'peak, MB':>10}")
    frames = min(folders)
    decoded = (frames + VALIDATION) * SIZE[0] * SIZE[1] * 4 / 1e6
    steps = EPOCHS * frames // 8
    for number, megabytes in enumerate(CACHES * 2):
        one = train(folders[frames], runs / f"{number}", steps, f"data.cache_megabytes={megabytes}")
        print(f"{frames:>7,}{decoded:>13,.0f}{megabytes:>11,}{one.step:>10.1f}{one.memory:>10,}", flush=True)


def frame_costs(data: Path, count: int) -> list[float]:
    """Milliseconds a frame, in the order of the columns of `print_costs`; `count` frames are read in a random order."""
    classes = tuple(one.name for one in CLASSES)
    config = DataConfig(kind="folder", root=str(data), labels="all", class_names=classes, ignore_values=(255,))
    started = time.perf_counter()
    training = open_split(replace(config, cache_megabytes=0), "train")
    listed = time.perf_counter()
    sizes = [frame.image.stat().st_size + frame.label.stat().st_size for frame in training.files]
    compared = time.perf_counter()
    costs = [1000 * (listed - started) / len(training), 1000 * (compared - listed) / len(training)]
    starts = [0, *accumulate(sizes)]
    order = np.random.default_rng(0).permutation(len(training))[:count].tolist()
    with tempfile.TemporaryFile() as container:
        for frame in training.files:
            container.write(frame.image.read_bytes() + frame.label.read_bytes())

        def read_files(index: int) -> None:
            training.files[index].image.read_bytes()
            training.files[index].label.read_bytes()

        def read_container(index: int) -> None:
            os.pread(container.fileno(), sizes[index], starts[index])

        for read, threads in ((read_files, 1), (read_container, 1), (training.read, 1), (training.read, 2)):
            with ThreadPoolExecutor(threads) as pool:
                started = time.perf_counter()
                list(pool.map(read, order))
                costs.append(1000 * (time.perf_counter() - started) / count)
    return costs


def print_costs(folders: dict[int, Path], _: Path, steps: int) -> None:
    """Milliseconds a frame for what a training does besides its steps, and for one container in place of files."""
    titles = ("list", "stat", "two files", "container", "decode", "2 threads")
    print(f"{'frames':>7}" + "".join(f"{title:>11}" for title in titles))
    for frames, data in folders.items():
        costs = frame_costs(data, count=min(frames, 40 * steps))
        print(f"{frames:>7,}" + "".join(f"{cost:>11.3f}" for cost in costs), flush=True)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "fcn-scale")
    parser.add_argument("--frames", type=int, nargs="+", default=[500, 5_000, 50_000])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=list(TABLES))
    arguments = parser.parse_args()
    folders = {frames: make(arguments.folder, frames) for frames in arguments.frames}
    for name in arguments.tables:
        with tempfile.TemporaryDirectory() as runs:
            TABLES[name](folders, Path(runs), arguments.steps)


TABLES = {"starts": print_starts, "cache": print_cache, "costs": print_costs}

if __name__ == "__main__":
    main()

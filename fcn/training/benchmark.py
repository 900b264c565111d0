"""Times the training step, next to PyTorch's of the same network. Each side has a process of its own, and its turn."""

from __future__ import annotations

import ctypes
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, Literal, NamedTuple

import numpy as np
from tqdm import tqdm

from fcn.config.settings import Config, ModelConfig
from fcn.datasets import classes_of
from fcn.errors import RunStoppedError, print_error
from fcn.export.benchmark import PAUSE
from fcn.images import IGNORE, Array
from fcn.model.architecture import skip_blocks
from fcn.runs.environment import processor_has_bfloat16

ROUNDS = 15
WARM_UP = 2  # rounds that do not count; the first one compiles
PEAK_CALLS = 8  # products of matrices, of which the fastest counts
PEAK_SIDE = 2048  # of the square matrices
PEAK_GIGAFLOP = 2 * PEAK_SIDE**3 / 1e9
M_TRIM_THRESHOLD = -1  # numbers of options in glibc's malloc.h
M_MMAP_MAX = -4
# share of the largest logit, of the loss; rounding to bfloat16 (8 bits) in every layer makes 0.02 and 0.001 of it
TOLERANCE = {"float32": (1e-3, 1e-3), "bfloat16": (1e-1, 1e-2)}

Framework = Literal["fcn", "torch"]
Precision = Literal["float32", "bfloat16"]
Call = Callable[[], Any]


class Kind(NamedTuple):
    """What tells the sides of one benchmark apart."""

    framework: Framework
    precision: Precision
    keeps_memory: bool  # `keep_freed_memory`; or malloc as it is, as in a training

    def __str__(self) -> str:
        name = "fcn" if self.framework == "fcn" else "PyTorch"
        return f"{name} {self.precision}" + (", memory kept" if self.keeps_memory else "")


REFERENCE = Kind("torch", "float32", keeps_memory=False)


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one process times: steps of `config`, in the precision of `kind`, on images of `size`."""

    kind: Kind
    config: Config
    size: tuple[int, int]
    weights: dict[str, Array]  # path in Keras -> weight, for PyTorch

    def batch(self) -> tuple[Array, Array]:
        """Images uint8 (N, H, W, 3) and labels uint8 (N, H, W), a tenth of them IGNORE; the same for every side."""
        random = np.random.default_rng(0)
        shape = (self.config.train.batch_size, *self.size)
        images = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
        labels = random.integers(0, len(self.class_weights()), shape, dtype=np.uint8)
        labels[random.random(shape) < 0.1] = IGNORE
        return images, labels

    def class_weights(self) -> list[float]:
        """A loss weight for each class."""
        return np.linspace(0.5, 1.5, len(classes_of(self.config.data))).tolist()


def layer_groups(config: ModelConfig) -> dict[str, str]:
    """Group of layers -> its last layer, in the order in which pixels meet them, up to the scores of the decoder."""
    groups = {"preprocessing, block 1": "block1_pool"}
    groups |= {f"block {block}": f"block{block}_pool" for block in range(2, 6)}
    groups["head"] = "fc7_dropout"
    skips = skip_blocks(config.stride)
    groups["decoder"] = f"fuse_pool{skips[-1]}" if skips else "score_fr"
    return groups


def keep_freed_memory() -> None:
    """Lets malloc keep what is freed for the next request, rather than return it to the system; only glibc's can.

    By default glibc maps each large block anew and unmaps it when it is freed. The feature maps of every step then are
    new pages, which the kernel fills with zeros first. M_MMAP_MAX = 0 takes large blocks from the heap too, and
    M_TRIM_THRESHOLD = -1 never shrinks it, so memory in use stays at its peak. To be called before a framework is
    imported, as a block stays where it was allocated.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def serve(file_number: int) -> None:
    """The other process: takes a Side, then names of its calls; answers each with its seconds and its result."""
    connection = Connection(file_number)
    side = connection.recv()
    if side.kind.keeps_memory:
        keep_freed_memory()
    # imported here, after the allocator was set: one process has one framework
    calls: dict[str, Call]
    if side.kind.framework == "fcn":
        from fcn.training.benchmark_fcn import calls_of

        calls = calls_of(side)
    else:
        from fcn.training.benchmark_torch import calls_of

        calls = calls_of(side)
    calls["megabytes"] = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    while True:
        try:
            name = connection.recv()
        except EOFError:
            return
        started = time.perf_counter()
        result = calls[name]()
        connection.send((time.perf_counter() - started, result))


class SideProcess:
    """The process of a side. What it prints on stderr is shown only if it ends too early."""

    def __init__(self, side: Side):
        self.side = side
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.connection, theirs = Pipe()
        number = theirs.fileno()
        command = [sys.executable, "-c", f"from fcn.training.benchmark import serve; serve({number})"]
        self.process = subprocess.Popen(command, pass_fds=[number], stderr=self.errors)  # noqa: S603
        theirs.close()
        self.connection.send(side)

    def call(self, name: str) -> tuple[float, Any]:
        """Seconds and result of a call. Raises RunStoppedError if the process has ended."""
        try:
            self.connection.send(name)
            seconds, result = self.connection.recv()
        except (EOFError, ConnectionError):
            self.errors.seek(0)
            print_error(self.errors.read().decode(errors="replace").rstrip())
            line = "the process ended; if it is for memory, lower train.batch_size or model.width"
            raise RunStoppedError(f"{self.side.kind}: {line}") from None
        return seconds, result

    def end(self) -> None:
        """Ends the process."""
        self.connection.close()
        self.process.wait()
        self.errors.close()


def benchmark_training(
    config: Config, size: tuple[int, int], against_torch: bool, by_group: bool = False, rounds: int = ROUNDS
) -> str:
    """The table of training steps with both allocators, in turns, after comparing what they compute.

    `config.train.precision` is not used: float32 is timed, and bfloat16 where the processor has instructions for it.
    `by_group` gives the time of groups of layers instead. Raises RunStoppedError if the networks differ.
    """
    lines = []
    precisions: list[Precision] = ["float32", "bfloat16"]
    if not processor_has_bfloat16():
        precisions.remove("bfloat16")
        lines.append("bfloat16: not timed, as this processor has no instructions for it")
    frameworks: list[Framework] = ["fcn", "torch"] if against_torch else ["fcn"]
    allocators = (False,) if by_group else (False, True)
    kinds = [Kind(*one) for one in product(frameworks, precisions, allocators)]
    workers: dict[Kind, SideProcess] = {}
    weights: dict[str, Array] = {}
    try:
        for kind in kinds:
            given = weights if kind.framework == "torch" else {}
            workers[kind] = SideProcess(Side(kind=kind, config=config, size=size, weights=given))
            weights = weights or workers[kind].call("weights")[1]
        checks = {kind: worker.call("check")[1] for kind, worker in workers.items() if not kind.keeps_memory}
        compared = precisions if against_torch else precisions[1:]  # float32 alone has nothing to agree with
        lines += [require_agreement(checks, precision) for precision in compared]
        if by_group:
            groups = {**layer_groups(config.model), "upsampling, loss": "loss", "optimizer, averages": "step"}
            lines.append(group_table(alternate(workers, list(groups.values()), rounds), groups))
        else:
            peaks = {kind: peak_of(worker) for kind, worker in workers.items()}
            gigaflop = 3 * config.train.batch_size * workers[kinds[0]].call("gigaflops")[1]  # backward is two forward
            steps = {kind: times["step"] for kind, times in alternate(workers, ["step"], rounds).items()}
            megabytes = {kind: worker.call("megabytes")[1] for kind, worker in workers.items()}
            lines.append(table(steps, gigaflop, peaks, megabytes))
    finally:
        for worker in workers.values():
            worker.end()
    return "\n".join(lines)


def peak_of(worker: SideProcess) -> float:
    """10**9 operations a second in the fastest of some products of matrices."""
    return PEAK_GIGAFLOP / min(worker.call("peak")[0] for _ in range(PEAK_CALLS))


def alternate(
    workers: Mapping[Kind, SideProcess], calls: Sequence[str], rounds: int
) -> dict[Kind, dict[str, list[float]]]:
    """Milliseconds of each call of each side in each round, A B C A B C, with a pause before each."""
    times: dict[Kind, dict[str, list[float]]] = {kind: {call: [] for call in calls} for kind in workers}
    for number in tqdm(range(WARM_UP + rounds), "time", unit="round", leave=False, disable=None):
        for call, (kind, worker) in product(calls, workers.items()):
            time.sleep(PAUSE)
            seconds, _ = worker.call(call)
            if number >= WARM_UP:
                times[kind][call].append(1000 * seconds)
    return times


def require_agreement(checks: Mapping[Kind, tuple[Array, list[float]]], precision: Precision) -> str:
    """A line with the largest differences of the sides of a precision from fcn in float32.

    Raises RunStoppedError if one is above `TOLERANCE`.
    """
    logits, losses = checks[Kind("fcn", "float32", keeps_memory=False)]
    others = [check for kind, check in checks.items() if kind.precision == precision]
    of_logits = np.max([np.abs(other - logits) for other, _ in others]) / np.abs(logits).max()
    of_losses = np.max([np.abs(np.subtract(other, losses)) for _, other in others]) / max(losses)
    found = f"logits differ by at most {of_logits:.1e} of the largest, losses of two steps by {of_losses:.1e}"
    limits = TOLERANCE[precision]
    if not (of_logits <= limits[0] and of_losses <= limits[1]):  # also if one is not a number
        raise RunStoppedError(f"{precision}: {found}; above {limits} it is another network, and nothing is timed")
    return f"{precision}: {found}"


def table(
    times: Mapping[Kind, Sequence[float]], gigaflop: float, peaks: Mapping[Kind, float], megabytes: Mapping[Kind, float]
) -> str:
    """A line for each side: milliseconds, speed relative to PyTorch, arithmetic of a step (10**9), peak of memory.

    `ratio` is to PyTorch in float32 as it is, `alike` to PyTorch with the same precision and allocator.
    """
    medians = {kind: median(values) for kind, values in times.items()}
    names = f"{'ms':>8}{'lowest':>8}{'highest':>8}{'ratio':>7}{'alike':>7}{'GFLOP/s':>9}{'of peak':>14}{'MB':>6}"
    lines = [f"{'step':<31}{names}"]
    for kind, middle in medians.items():
        ratio = alike = ""
        if REFERENCE in medians:
            ratio = f"{medians[REFERENCE] / middle:.2f}"
            alike = f"{medians[kind._replace(framework='torch')] / middle:.2f}"
        speed = 1000 * gigaflop / middle
        share = f"{speed / peaks[kind]:.0%} of {peaks[kind]:.0f}"
        lines.append(
            f"{kind!s:<31}{middle:>8.1f}{min(times[kind]):>8.1f}{max(times[kind]):>8.1f}{ratio:>7}{alike:>7}"
            f"{speed:>9.1f}{share:>14}{megabytes[kind]:>6.0f}"
        )
    return "\n".join(lines)


def group_table(times: Mapping[Kind, Mapping[str, Sequence[float]]], groups: Mapping[str, str]) -> str:
    """A line for each group of layers: milliseconds by which a step up to its end is longer than one up to its start.

    `groups` has the call that ends each. A step up to a layer is forward and backward, with the sum of the layer's
    output in place of the loss. The shortest times are subtracted: other processes only ever add to a time, and a
    difference of medians would hold what they added to either.
    """
    lines = [f"{'forward and backward, ms':<26}" + "".join(f"{kind!s:>18}" for kind in times)]
    before = dict.fromkeys(times, 0.0)
    for group, call in groups.items():
        now = {kind: min(calls[call]) for kind, calls in times.items()}
        lines.append(f"{group:<26}" + "".join(f"{now[kind] - before[kind]:>18.1f}" for kind in times))
        before = now
    lines.append(f"{'whole step':<26}" + "".join(f"{before[kind]:>18.1f}" for kind in times))
    return "\n".join(lines)

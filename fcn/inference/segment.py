"""Images -> masks and overlays on disk, and a table of what was found and how long it took.

Three stages overlap: the next images are decoded and the last ones written while the network is busy.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import numpy as np
from PIL import Image
from tqdm import tqdm

from fcn.errors import DISK_FULL, UserError, printable
from fcn.images import Array, write_image, write_mask
from fcn.inference.predictor import Predictor
from fcn.inference.sources import Source
from fcn.pictures import legend, overlay

AHEAD = 2  # images that wait decoded, and results that wait to be written
STAGES = ("decode", "model", "write", "all")  # "all": from the start of decoding to the end of writing


@dataclass(frozen=True)
class Result:
    """What was found in an image."""

    name: str
    size: tuple[int, int]  # (height, width) in pixels
    network_height: int  # in pixels, at which it was segmented
    shares: Array  # fraction of the pixels of each class
    milliseconds: tuple[float, ...]  # of each of STAGES
    ended: float  # in seconds, as time.perf_counter has it


@dataclass
class Job:
    """An image on its way through the stages."""

    source: Source
    arrays: tuple[Array, ...] = ()  # image; image, mask; image, mask, confidence; none once they are written
    size: tuple[int, int] = (0, 0)
    shares: Array = field(default_factory=lambda: np.zeros(0))  # fraction of the pixels of each class
    started: float = 0.0  # in seconds, as time.perf_counter has it
    ended: float = 0.0
    milliseconds: list[float] = field(default_factory=list)
    problem: str = ""  # why there is no result


def segment_images(
    predictor: Predictor,
    sources: Sequence[Source],
    out: Path,
    confidence_of: int | None = None,
    alpha: float = 0.5,
    with_legend: bool = False,
) -> tuple[list[Result], list[str]]:
    """Writes mask, overlay and, if wanted, confidence of each image under the names of `Source.outputs` in `out`.

    The confidence, written for the class with the index `confidence_of`, is its probability x 255 as a gray picture.
    `alpha` is the strength of the class colors, 0 to 1; `with_legend` adds colors, names and shares below each overlay.
    Returns results of the images that were read and written, and a line for each other image. A few images are in
    memory at a time, however many there are; a bar shows the progress on a terminal.

    Raises:
        UserError: The folder `out` cannot be made, or the network has no probabilities for the confidence.
        OSError: The disk is full.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be made: {error.strerror}; name another --out") from error
    disk_full = Event()  # what waits to be written would fail as well

    def predict(image: Array) -> tuple[Array, ...]:
        if confidence_of is None:
            return (predictor.labels(image),)
        return predictor.labels_and_confidence(image, confidence_of)

    def decode(job: Job) -> None:
        job.started = time.perf_counter()
        job.arrays = (job.source.read(),)

    def segment(job: Job) -> None:
        job.arrays += predict(job.arrays[0])

    def write(job: Job) -> None:
        if disk_full.is_set():
            return
        image, mask, *confidence = job.arrays
        job.arrays = ()
        job.size = mask.shape
        counts = Image.fromarray(mask).histogram()  # np.bincount would copy 8 bytes per pixel
        job.shares = np.array(counts[: len(predictor.classes)]) / mask.size
        picture = overlay(image, mask, predictor.classes, alpha=alpha)
        if with_legend:
            picture = np.concatenate([picture, legend(predictor.classes, picture.shape[1], job.shares)])
        mask_file, overlay_file, confidence_file = job.source.outputs(out)
        try:
            write_mask(mask_file, mask, predictor.classes)
            write_image(overlay_file, picture)
            for values in confidence:
                write_image(confidence_file, values)
        except OSError as error:
            if error.errno in DISK_FULL:
                disk_full.set()
                raise
            reason = f"cannot be written: {error.strerror}; check the name and its permissions"
            raise UserError(f"{error.filename}: {reason}") from error

    predict(np.zeros((1, 1, 3), np.uint8))  # builds the graph, which must not count as time of the first image
    results = []
    problems = []
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        decoded = _staged(reader, _stage(decode), map(Job, sources))
        written = _staged(writer, _stage(write), map(_stage(segment), decoded))
        for job in tqdm(written, "segment", total=len(sources), unit="image", leave=False, disable=None):
            if job.problem:
                problems.append(job.problem)
                continue
            height, width = job.size
            whole = 1000 * (job.ended - job.started)
            results.append(
                Result(
                    name=job.source.name,
                    size=(height, width),
                    network_height=predictor.network_height(height),
                    shares=job.shares,
                    milliseconds=(*job.milliseconds, whole),
                    ended=job.ended,
                )
            )
    return results, problems


def _stage(action: Callable[[Job], None]) -> Callable[[Job], Job]:
    """Does its part of a job, takes the time, and notes a problem of this image."""

    def stage(job: Job) -> Job:
        if job.problem:
            return job
        started = time.perf_counter()
        try:
            action(job)
        except UserError as error:
            job.problem = str(error)
        except MemoryError:
            job.problem = f"{job.source.name}: does not fit into memory; reduce it, or name a --max-height"
        job.ended = time.perf_counter()
        job.milliseconds.append(1000 * (job.ended - started))
        return job

    return stage


def _staged(executor: Executor, stage: Callable[[Job], Job], jobs: Iterable[Job]) -> Iterator[Job]:
    """The jobs after a stage, in their order; the stage works ahead while the caller is busy."""
    waiting: deque[Future[Job]] = deque()
    for job in jobs:
        waiting.append(executor.submit(stage, job))
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def table(results: Sequence[Result], predictor: Predictor) -> str:
    """One line per image: file, size, height at which it was segmented, times, and the classes of at least 1 %.

    Of two images and more also the median and the 95th percentile of the times, and the images per second.
    """
    names = [printable(result.name) for result in results]
    wide = max(map(len, ["file", *names]))
    stages = " ".join(f"{stage:>7}" for stage in STAGES)
    lines = [f"{'file':<{wide}} {'height x width':>14} {'at height':>9}  {stages} ms  classes"]
    for name, result in zip(names, results, strict=True):
        shares = sorted(zip(result.shares, predictor.classes, strict=True), key=lambda pair: -pair[0])
        classes = ", ".join(f"{one.name} {share:.1%}" for share, one in shares if share >= 0.01)
        size = "{} x {}".format(*result.size)
        lines.append(
            f"{name:<{wide}} {size:>14} {result.network_height:>9}  {_times(result.milliseconds)}     {classes}"
        )
    if len(results) > 1:
        times = [result.milliseconds for result in results]
        for percent in (50, 95):
            title = f"{percent} % of the images take at most"
            lines.append(f"{title:<{wide + 25}}  {_times(np.percentile(times, percent, axis=0))}")
        seconds = results[-1].ended - results[0].ended
        lines.append(f"{len(results)} images, {(len(results) - 1) / seconds:.1f} a second")
    return "\n".join(lines)


def _times(milliseconds: Iterable[float]) -> str:
    return " ".join(f"{one:7.1f}" for one in milliseconds)

"""Times a network in every runtime at hand, in one run: all forms in turns, as the machine may be shared."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from fcn.config.settings import Config, DataConfig, ModelConfig
from fcn.config.yaml_file import dump_config
from fcn.datasets import open_split
from fcn.errors import UserError
from fcn.export.export import export
from fcn.export.options import ENDING_OF, ExportOptions, Precision, files_of
from fcn.images import read_image, write_image
from fcn.inference.predictor import Predictor, load_predictor
from fcn.inference.runtimes import Format
from fcn.inference.segment import STAGES, Result, segment_images
from fcn.inference.sources import Source
from fcn.runs.environment import processor_flags, processor_name
from fcn.runs.trained import ENDING as WEIGHTS_ENDING
from fcn.runs.trained import TrainedModel

ROUNDS = 21
COLD_STARTS = 3
PAUSE = 0.15  # seconds between two forms: the threads of ONNX Runtime spin for a while after a call
Form = tuple[Format, Precision, Literal["any", "fixed"]]  # of which sizes it is

REFERENCE: Form = ("onnx", "float32", "any")
FORMS: tuple[Form, ...] = (
    REFERENCE,
    ("onnx", "float32", "fixed"),
    ("onnx", "int8", "any"),
    ("openvino", "float32", "any"),
    ("openvino", "float32", "fixed"),
    ("openvino", "float16", "fixed"),
    ("openvino", "int8", "any"),
    ("openvino", "int8", "fixed"),
    ("litert", "float32", "any"),
    ("litert", "float32", "fixed"),
    ("litert", "int8", "fixed"),
    ("saved_model", "float32", "any"),
)
QUICK_FORMS: tuple[Form, ...] = (REFERENCE, ("openvino", "int8", "fixed"), ("litert", "float32", "any"))
INSTRUCTIONS = {"VNNI": "avx512_vnni", "AVX-VNNI": "avx_vnni", "bfloat16": "avx512_bf16", "AMX": "amx_int8"}
VERSIONS = ("tensorflow", "onnxruntime", "openvino", "ai-edge-litert")


@dataclass(frozen=True)
class Case:
    """A network and the (height, width) of the images that it is timed on."""

    title: str
    trained: TrainedModel
    config: Config
    size: tuple[int, int]


@dataclass(frozen=True)
class Row:
    """A form of a network in a runtime."""

    title: str
    megabytes: float
    milliseconds: list[float]  # of each round
    equal: float  # share of pixels with the class that Keras' network gives
    miou: float | None
    cold_start: float | None  # seconds of `fcn infer`, from the start of Python to the first mask


def trained_case(trained: TrainedModel, config: Config, size: tuple[int, int]) -> Case:
    """A trained network on its own validation frames."""
    return Case(f"{trained.weights.name}, {size[0]} x {size[1]}", trained, config, size)


def untrained_case(folder: Path, width: float, classes: int, size: tuple[int, int]) -> Case:
    """A network like that of configs/camvid.yaml with random weights, and generated frames, all written to `folder`."""
    from fcn.model.fcn import build_fcn
    from fcn.model.weights import save_weights

    names = tuple(f"class{index}" for index in range(classes))
    data = DataConfig(kind="folder", root=str(folder), labels="all", class_names=names, ignore_values=(255,))
    for split, count in (("train", 8), ("val", 2)):
        frames = open_split(DataConfig(synthetic_size=size, synthetic_frames=(count, count, 1)), split)
        for index, name in enumerate(frames.names):
            image, label = frames.read(index)
            for kind, values in (("images", image), ("masks", label)):
                (folder / kind / split).mkdir(parents=True, exist_ok=True)
                write_image(folder / kind / split / f"{name}.png", values)
    config = Config(data=data, model=ModelConfig(width=width, stride=2, skips="before_pooling"))
    model = build_fcn(config.model, classes)
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.startswith("score"):  # they begin as zeros, and every pixel would have one class
            weight.assign(random.normal(0, 0.1, weight.shape))
    weights = folder / "random.weights.h5"
    save_weights(model, weights)
    weights.with_name("random.yaml").write_text(dump_config(config))
    title = f"random weights, width {width:g}, {classes} classes, {size[0]} x {size[1]}"
    return Case(title, TrainedModel.of_weights(weights), config, size)


def benchmark(case: Case, folder: Path, quick: bool = False, check: Path | None = None) -> list[Row]:
    """Exports a network to every runtime at hand, compares, and times all forms and our predictor in turns.

    Files are written to `folder`. With `quick`, a few forms and rounds: to see that it runs. `check` is that of
    `ExportOptions`. Raises UserError if there are no frames to compare on.
    """
    sources: dict[str, str | Path | TrainedModel] = {"fcn (TensorFlow)": case.trained}
    proofs: dict[str, dict[str, Any]] = {}
    for form in tqdm(QUICK_FORMS if quick else FORMS, "export", unit="file", leave=False, disable=None):
        format_, precision, size = form
        out = folder / f"{format_}_{precision}_{size}{ENDING_OF[format_]}"
        fixed = case.size if size == "fixed" else None
        options = ExportOptions(format=format_, precision=precision, size=fixed, check=check)
        if not options.missing_package():
            title = " ".join(form)
            proofs[title] = export(case.trained, case.config, out, options, refuse=False)
            sources[title] = out

    predictors = {title: load_predictor(source, case.config) for title, source in sources.items()}
    image = np.random.default_rng(0).integers(0, 256, (*case.size, 3), dtype=np.uint8)
    times = _alternate({title: partial(one.labels, image) for title, one in predictors.items()}, 3 if quick else ROUNDS)
    del predictors
    rows = []
    for title, source in sources.items():
        proof = proofs.get(title, {"equal": 1.0, "miou": next(iter(proofs.values()))["network_miou"]})
        path = case.trained.weights if isinstance(source, TrainedModel) else Path(source)
        rows.append(
            Row(
                title=title,
                megabytes=sum(file.stat().st_size for file in files_of(path)) / 1e6,
                milliseconds=times[title],
                equal=proof["equal"],
                miou=proof["miou"],
                cold_start=_cold_start(path, case.size, 1 if quick else COLD_STARTS),
            )
        )
    return rows


def benchmark_folder(predictor: Predictor, files: Sequence[Path], out: Path, count: int) -> dict[str, Any]:
    """Images per second of the network alone and of the whole way from `files` to pictures in `out`, in turns.

    `files` are repeated up to `count` images. Returns both speeds of each of two rounds, `peak_megabytes` of memory
    after the first tenth and at the end, and the median and 95th percentile of each stage in milliseconds.
    """
    images = [read_image(file, predictor.max_megapixels) for file in files[:50]]
    sources = [
        Source(file.name, f"{index:06}", partial(read_image, file, predictor.max_megapixels))
        for index, file in enumerate(islice(cycle(files), count))
    ]
    predictor.labels(images[0])
    alone: list[float] = []
    whole: list[float] = []
    peaks = []
    results: list[Result] = []
    for part in (sources[: count // 10], sources, sources):
        started = time.perf_counter()
        for image in islice(cycle(images), len(part)):
            predictor.labels(image)
        alone.append(len(part) / (time.perf_counter() - started))
        results, problems = segment_images(predictor, part, out)
        if problems:
            raise UserError(*problems)
        whole.append((len(part) - 1) / (results[-1].ended - results[0].ended))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
    milliseconds = np.array([result.milliseconds for result in results])
    return {
        "network_per_second": alone[1:],
        "folder_per_second": whole[1:],
        "peak_megabytes": peaks[::2],
        "p50": dict(zip(STAGES, np.percentile(milliseconds, 50, axis=0).tolist(), strict=True)),
        "p95": dict(zip(STAGES, np.percentile(milliseconds, 95, axis=0).tolist(), strict=True)),
    }


def describe_machine() -> str:
    """Processor, its instructions for small numbers, cores, load and versions, in two lines."""
    flags = processor_flags()
    instructions = [name for name, flag in INSTRUCTIONS.items() if flag in flags]
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    versions = [f"{name} {version(name)}" for name in VERSIONS if find_spec(name.replace("-", "_"))]
    return (
        f"{processor_name()}: {cores} cores, {', '.join(instructions) or 'no instructions for int8 or bfloat16'}; "
        f"load {load:.1f} before\nPython {platform.python_version()}, {', '.join(versions)}"
    )


def table(rows: Sequence[Row]) -> str:
    """A line for each form: size, median and range of the times, ratio to ONNX Runtime in float32, agreement, start."""
    reference = next((median(row.milliseconds) for row in rows if row.title == " ".join(REFERENCE)), None)
    lines = [f"{'':<26}{'MB':>6}{'ms':>8}{'lowest':>8}{'highest':>8}{'ratio':>7}{'equal':>9}{'mIoU':>8}{'start s':>9}"]
    for row in rows:
        middle = median(row.milliseconds)
        ratio = "" if reference is None else f"{reference / middle:.2f}"
        miou = "" if row.miou is None else f"{row.miou:.4f}"
        lines.append(
            f"{row.title:<26}{row.megabytes:>6.1f}{middle:>8.1f}{min(row.milliseconds):>8.1f}"
            f"{max(row.milliseconds):>8.1f}{ratio:>7}{row.equal:>9.2%}{miou:>8}{row.cold_start:>9.2f}"
        )
    return "\n".join(lines)


def _alternate(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call in each round, A B C A B C, with a pause before each."""
    times: dict[str, list[float]] = {title: [] for title in calls}
    for number in tqdm(range(rounds + 2), "time", unit="round", leave=False, disable=None):
        for title, call in calls.items():
            time.sleep(PAUSE)
            started = time.perf_counter()
            call()
            if number >= 2:  # the first two only warm up
                times[title].append(1000 * (time.perf_counter() - started))
    return times


def _cold_start(path: Path, size: tuple[int, int], count: int) -> float:
    """Median seconds of `fcn infer` for one image, from the start of Python to the written mask."""
    source = "--weights" if path.name.endswith(WEIGHTS_ENDING) else "--model"
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.png"
        write_image(image, np.zeros((*size, 3), np.uint8))
        command = [sys.executable, "-m", "fcn", "infer", str(image), source, str(path), "--out", folder]
        for _ in range(count):
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603
            seconds.append(time.perf_counter() - started)
    return median(seconds)

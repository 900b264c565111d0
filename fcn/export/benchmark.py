"""Times a network in every runtime at hand, in one run: all forms in turns, as the machine may be shared."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
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
from fcn.images import Array, read_image, write_image
from fcn.inference.predictor import Predictor, load_predictor
from fcn.inference.runtimes import Format
from fcn.inference.segment import STAGES, segment_images
from fcn.inference.sources import Source
from fcn.runs.environment import processor_flags, processor_name
from fcn.runs.trained import ENDING as WEIGHTS_ENDING
from fcn.runs.trained import TrainedModel

ROUNDS = 21
COLD_STARTS = 3
PAUSE = 0.15  # seconds between two forms: the threads of ONNX Runtime spin for a while after a call
Form = tuple[Format, Precision, Literal["any", "fixed"]]  # of which sizes it is

REFERENCE = "Keras' own ONNX"  # in ONNX Runtime, float32, any size, the class by NumPy: what one has without fcn
FORMS: tuple[Form, ...] = (
    ("onnx", "float32", "any"),
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
QUICK_FORMS: tuple[Form, ...] = (
    ("onnx", "float32", "any"),
    ("openvino", "int8", "fixed"),
    ("litert", "float32", "any"),
)
INSTRUCTIONS = {"VNNI": "avx512_vnni", "AVX-VNNI": "avx_vnni", "bfloat16": "avx512_bf16", "AMX": "amx_int8"}
VERSIONS = ("tensorflow", "onnxruntime", "openvino", "ai-edge-litert")


def untrained(folder: Path, width: float, classes: int, size: tuple[int, int]) -> TrainedModel:
    """A network like that of configs/camvid.yaml with random weights, and generated frames, all written to `folder`."""
    from fcn.model.fcn import build_fcn
    from fcn.model.weights import save_weights

    for split in ("train", "val"):
        frames = open_split(DataConfig(synthetic_size=size, synthetic_frames=(8, 2, 1)), split)
        for index, name in enumerate(frames.names):
            for kind, picture in zip(("images", "masks"), frames.read(index), strict=True):
                file = folder / kind / split / f"{name}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                write_image(file, picture)
    names = tuple(f"class{index}" for index in range(classes))
    data = DataConfig(kind="folder", root=str(folder), labels="all", class_names=names, ignore_values=(255,))
    config = Config(data=data, model=ModelConfig(width=width, stride=2, skips="before_pooling"))
    model = build_fcn(config.model, classes)
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.startswith("score"):  # they begin as zeros, and every pixel would have one class
            weight.assign(random.normal(0, 0.1, weight.shape))
    save_weights(model, folder / "random.weights.h5")
    (folder / "random.yaml").write_text(dump_config(config))
    return TrainedModel.of_weights(folder / "random.weights.h5")


def benchmark(
    trained: TrainedModel, config: Config, size: tuple[int, int], quick: bool = False, check: Path | None = None
) -> str:
    """The table of a network that is exported to every runtime at hand, compared, and timed in turns in all forms.

    `size` is the (height, width) of the image. With `quick`, a few forms and rounds: to see that it runs. `check` is
    that of `ExportOptions`. Raises UserError if there are no frames to compare on.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = {"fcn (TensorFlow)": trained.weights}
        proofs: dict[str, dict[str, Any]] = {}
        skipped = []
        for form in tqdm(QUICK_FORMS if quick else FORMS, "export", unit="file", leave=False, disable=None):
            format_, precision, kind = form
            fixed = size if kind == "fixed" else None
            options = ExportOptions(format=format_, precision=precision, size=fixed, check=check)
            title = " ".join(form)
            missing = options.missing_package()
            if missing:
                skipped.append(f"{title}: not timed, as the package {missing} is not installed")
                continue
            paths[title] = Path(folder, f"{format_}_{precision}_{kind}{ENDING_OF[format_]}")
            proofs[title] = export(trained, config, paths[title], options, refuse=False)
            proofs["fcn (TensorFlow)"] = {"equal": 1.0, "miou": proofs[title]["network_miou"]}
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        calls: dict[str, Callable[[], object]] = {
            title: partial(load_predictor(path, config).labels, image) for title, path in paths.items()
        }
        if not ExportOptions(format="onnx").missing_package():
            calls = {REFERENCE: _keras_onnx(trained, config, image, Path(folder, "keras.onnx")), **calls}
        times = _alternate(calls, 3 if quick else ROUNDS)
        del calls  # frees memory for the cold starts
        starts = {title: _cold_start(path, size, 1 if quick else COLD_STARTS) for title, path in paths.items()}
        sizes = {title: sum(file.stat().st_size for file in files_of(path)) for title, path in paths.items()}
    return "\n".join([table(sizes, times, proofs, starts), *skipped])


def table(
    sizes: dict[str, int], times: dict[str, list[float]], proofs: dict[str, dict[str, Any]], starts: dict[str, float]
) -> str:
    """A line for each form: megabytes, times, ratio of their median to that of REFERENCE, proof, start."""
    reference = times.get(REFERENCE)
    lines = [f"{'':<26}{'MB':>6}{'ms':>8}{'lowest':>8}{'highest':>8}{'ratio':>7}{'equal':>9}{'mIoU':>8}{'start s':>9}"]
    for title, milliseconds in times.items():
        middle = median(milliseconds)
        ratio = "" if reference is None else f"{median(reference) / middle:.2f}"
        size = start = equal = miou = ""
        if title in proofs:
            size = f"{sizes[title] / 1e6:.1f}"
            start = f"{starts[title]:.2f}"
            equal = f"{proofs[title]['equal']:.2%}"
            miou = "" if proofs[title]["miou"] is None else f"{proofs[title]['miou']:.4f}"
        lines.append(
            f"{title:<26}{size:>6}{middle:>8.1f}{min(milliseconds):>8.1f}{max(milliseconds):>8.1f}"
            f"{ratio:>7}{equal:>9}{miou:>8}{start:>9}"
        )
    return "\n".join(lines)


def benchmark_folder(predictor: Predictor, files: Sequence[Path], out: Path, count: int) -> str:
    """Lines with the speed of the network alone and of the whole way from `files` to pictures in `out`, in turns.

    `files` are repeated up to `count` images. There are two rounds, then the median and 95th percentile of each stage,
    and the peak of memory after the first tenth and at the end.
    """
    images = [read_image(file, predictor.max_megapixels) for file in files[:50]]
    sources = [
        Source(file.name, f"{index:06}", partial(read_image, file, predictor.max_megapixels))
        for index, file in enumerate(islice(cycle(files), count))
    ]
    predictor.labels(images[0])
    lines = []
    peaks = []
    for part in (sources[: count // 10], sources, sources):
        started = time.perf_counter()
        for image in islice(cycle(images), len(part)):
            predictor.labels(image)
        alone = len(part) / (time.perf_counter() - started)
        results, problems = segment_images(predictor, part, out)
        if problems:
            raise UserError(*problems)
        whole = (len(part) - 1) / (results[-1].ended - results[0].ended)
        lines.append(f"network alone {alone:.1f} images a second, files to pictures {whole:.1f}: {whole / alone:.2f}")
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
    for percent in (50, 95):
        times = np.percentile([result.milliseconds for result in results], percent, axis=0)
        stages = [f"{stage} {one:.1f} ms" for stage, one in zip(STAGES, times, strict=True)]
        lines.append(f"p{percent}: {', '.join(stages)}")
    lines.append(f"peak memory after {count // 10} images {peaks[0]:.0f} MB, after {count} {peaks[-1]:.0f} MB")
    return "\n".join(lines[1:])  # the first tenth warmed up


def describe_machine(packages: Sequence[str] = VERSIONS) -> str:
    """Processor, its instructions for small numbers, cores, load and versions of packages, in two lines."""
    flags = processor_flags()
    instructions = ", ".join(name for name, flag in INSTRUCTIONS.items() if flag in flags)
    machine = f"{len(os.sched_getaffinity(0))} cores, {instructions or 'no instructions for int8 or bfloat16'}"
    versions = ", ".join(f"{name} {version(name)}" for name in packages if find_spec(name.replace("-", "_")))
    load = os.getloadavg()[0]
    return f"{processor_name()}: {machine}; load {load:.1f} before\nPython {platform.python_version()}, {versions}"


def _keras_onnx(trained: TrainedModel, config: Config, image: Array, path: Path) -> Callable[[], object]:
    """A call of REFERENCE: the network as Keras exports it, to `path`, and the class of every pixel."""
    import onnxruntime

    model = load_predictor(trained, config).model
    model(np.zeros((1, 32, 32, 3), np.uint8))  # the export refuses a model that was never called
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tf2onnx with NumPy 2
        model.export(str(path), format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(str(path))
    batch = {session.get_inputs()[0].name: image[np.newaxis]}
    return lambda: session.run(None, batch)[0].argmax(-1)


def _alternate(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
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

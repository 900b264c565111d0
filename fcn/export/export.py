"""Exports a trained network: convert, attach metadata, prove, and only then give the file its name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

import fcn
from fcn.config.settings import Config
from fcn.config.yaml_file import dump_config, settings
from fcn.datasets import classes_of, open_split
from fcn.datasets.dataset import pictures_in
from fcn.errors import RunStoppedError, UserError
from fcn.export.options import ExportOptions
from fcn.export.proof import Frame, prove, refusal
from fcn.files import PART, flush
from fcn.images import Array, read_image
from fcn.inference.network import Output
from fcn.inference.predictor import resized
from fcn.inference.runtimes import METADATA, ExportedModel, ExportedNetwork
from fcn.runs.trained import TrainedModel


def export(
    trained: TrainedModel, config: Config, out: Path, options: ExportOptions, refuse: bool = True
) -> dict[str, Any]:
    """Writes a file (or folder) that holds the network, its metadata and the proof, which is returned (`prove`).

    `config` is that of the network; its `data` gives the frames for proof and calibration. Without `refuse`, a file
    that does not agree with the network is written as well, to be measured.

    Raises:
        UserError: `out`, frames or weights are not as they must be; or the file does not agree with the network, and
            is not kept.
        RunStoppedError: A converter failed.
    """
    import tensorflow as tf

    from fcn.model.fcn import build_fcn
    from fcn.model.inference_form import receptive_radius
    from fcn.model.weights import load_weights

    options.validate(out)
    classes = classes_of(config.data)
    frames = _frames_to_check(config, options)
    calibration = _calibration_frames(config, options) if options.precision == "int8" else []
    model = build_fcn(config.model, len(classes))
    load_weights(model, trained.weights, trained.content)

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)], autograph=False)
    def logits(image: tf.Tensor) -> tf.Tensor:
        return model(image[tf.newaxis], training=False)[0]

    reference = logits.get_concrete_function()  # several exports in one process would warn of tracing too often
    metadata = {
        "fcn": fcn.__version__,
        "format": options.format,
        "precision": options.precision,
        "size": options.size,
        "outputs": options.outputs,
        "classes": [asdict(one) for one in classes],
        "frame_height": trained.frame_height,
        "radius": receptive_radius(model),
        "weights": {key: trained.record[key] for key in ("step", "sha256") if key in trained.record},
        "settings": _stored_settings(config),
    }
    with tempfile.TemporaryDirectory(prefix=PART, dir=out.parent) as name:
        folder = Path(name)
        (folder / "config.yaml").write_text(dump_config(config))
        (folder / "model.weights.h5").write_bytes(trained.content)
        np.savez(folder / "frames.npz", *calibration)
        exported = _converted(folder, out, options.outputs, metadata)
        scores = None
        if "logits" in options.outputs:
            scores = exported
        elif options.precision == "float32":  # a file of the same conversion that has them
            scores = _converted(folder, Path("logits" + out.suffix), ("labels", "logits"), metadata)
        proof = prove(
            reference=lambda image: reference(tf.constant(image)).numpy(),
            network=exported,
            frames=frames,
            classes=classes,
            outputs=options.outputs,
            scores=scores if options.precision == "float32" else None,
        )
        reason = refusal(proof, options.precision)
        if reason and refuse:
            raise UserError(f"{out}: is not written: the export does not agree with the network: {reason}")
        final = folder / "final"
        final.mkdir()
        attach_metadata(folder / "raw" / out.name, final / out.name, {**metadata, "proof": proof})
        ExportedModel.open(final / out.name)
        for path in (*final.rglob("*"), final):
            flush(path)
        files = sorted(final.iterdir())
        if len(files) > 1:  # no older NAME.xml next to a new NAME.bin
            out.unlink(missing_ok=True)
        for file in files:  # NAME.bin of OpenVINO before NAME.xml
            file.replace(out.with_name(file.name))
        flush(out.parent)
    return proof


def _converted(folder: Path, out: Path, outputs: Sequence[Output], metadata: dict[str, Any]) -> ExportedNetwork:
    """A network of these outputs, converted in `folder` under the name of `out` and opened in its runtime."""
    raw = folder / "raw" / out.name
    raw.parent.mkdir(exist_ok=True)
    request = {key: metadata[key] for key in ("format", "precision", "size")}
    request |= {"outputs": outputs, "classes": len(metadata["classes"])}
    (folder / "request.json").write_text(json.dumps(request))
    run_conversion(folder, raw)
    candidate = folder / "candidate" / out.name
    candidate.parent.mkdir(exist_ok=True)
    attach_metadata(raw, candidate, metadata)
    return ExportedNetwork(ExportedModel.open(candidate))


def run_conversion(folder: Path, out: Path) -> None:
    """Converts what lies in `folder` to `out` in a process of its own; RunStoppedError if that fails."""
    command = [sys.executable, "-m", "fcn.export.convert", str(folder), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise RunStoppedError(f"the converter failed: {lines[-1]}; its last lines: {' | '.join(lines[-6:-1])}")


def attach_metadata(raw: Path, out: Path, metadata: dict[str, Any]) -> None:
    """Writes a copy of a converted network that also holds the metadata, as JSON."""
    text = json.dumps(metadata, indent=2)
    format_ = metadata["format"]
    if format_ == "saved_model":
        shutil.copytree(raw, out)
        (out / f"{METADATA}.json").write_text(text + "\n")
    elif format_ == "litert":
        shutil.copyfile(raw, out)
        with zipfile.ZipFile(out, "a") as archive:  # after the network; runtimes read up to its end
            archive.writestr(f"{METADATA}.json", text)
    elif format_ == "onnx":
        import onnx

        model = onnx.load(raw)
        onnx.helper.set_model_props(model, {METADATA: text})
        onnx.save(model, out)
    else:
        import openvino

        model = openvino.Core().read_model(raw)
        model.set_rt_info(text, [METADATA])
        openvino.save_model(model, out, compress_to_fp16=False)  # what is float16 already stays


def _frames_to_check(config: Config, options: ExportOptions) -> Iterator[Frame]:
    """The images of the folder `check`, without labels, or the frames of the validation set; looked for at once."""
    if options.check is not None:
        files = pictures_in(options.check, fix="name another --check")
        return ((read_image(file, config.data.max_megapixels), None) for file in files)
    try:
        dataset = open_split(config.data, "val")
    except UserError as error:
        raise UserError(*str(error).splitlines(), "or name a folder of images to compare on: --check DIR") from error
    return (dataset.read(index) for index in range(len(dataset)))


def _calibration_frames(config: Config, options: ExportOptions) -> list[Array]:
    """Training frames, chosen by the seed."""
    dataset = open_split(config.data, "train")
    count = min(options.calibration_frames, len(dataset))
    chosen = np.random.default_rng(options.calibration_seed).choice(len(dataset), count, replace=False)
    frames = [dataset.read(int(index))[0] for index in sorted(chosen)]
    if options.size is None:
        return frames
    return [resized(frame, *options.size) for frame in frames]


def _stored_settings(config: Config) -> dict[str, Any]:
    """Settings of data and network that are not the defaults. Of an absolute path only its last folder is stored."""
    stored = {}
    defaults = Config()
    for key in settings():
        value = attrgetter(key)(config)
        relevant = key.startswith(("data.", "model.")) and key != "model.initial_weights"
        if relevant and value != attrgetter(key)(defaults):
            stored[key] = value
    for key in ("data.root", "data.split_lists"):
        if key in stored and Path(stored[key]).is_absolute():
            stored[key] = Path(stored[key]).name
    return stored

"""Exports: each format agrees with the network in its own runtime, and what does not agree is refused."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, Script, run_process

import fcn
from fcn.datasets import open_split
from fcn.errors import UserError
from fcn.export.convert import convert, save_form
from fcn.export.export import export
from fcn.export.options import ExportOptions
from fcn.export.proof import prove, refusal
from fcn.images import read_image, write_image
from fcn.inference.predictor import Predictor, load_predictor
from fcn.inference.runtimes import OPEN, ExportedModel
from fcn.model.inference_form import InferenceForm
from fcn.runs.trained import SHIPPED, TrainedModel

pytestmark = pytest.mark.filterwarnings("ignore")  # of the converters, which have a process of their own otherwise

NAMES = {"saved_model": "net", "litert": "net.tflite", "onnx": "net.onnx", "openvino": "net.xml"}
CAMVID = ROOT / "data" / "CamVid"


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Converts where TensorFlow is loaded already; the slow tests convert as users do."""
    monkeypatch.setattr("fcn.export.export.run_conversion", convert)


@pytest.fixture(scope="module")
def files(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trained network in each format, with logits."""
    folder = tmp_path_factory.mktemp("exports")
    trained = TrainedModel.of_run(smoke_run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fcn.export.export.run_conversion", convert)
        for format_, name in NAMES.items():
            options = ExportOptions(format=format_, outputs=("labels", "logits"))
            export(trained, trained.config(), folder / name, options)
    assert {path.name for path in folder.iterdir()} == {*NAMES.values(), "net.bin"}
    return {format_: folder / name for format_, name in NAMES.items()}


@pytest.fixture(scope="module")
def predictor(smoke_run: Path) -> Predictor:
    return load_predictor(smoke_run, max_height=None)


def frame(height: int, width: int) -> np.ndarray:
    """A frame of the smoke run's data set, repeated to a size."""
    image, _ = open_split(fcn.load_config(None).data, "val").read(0)
    repeats = (-(-height // image.shape[0]), -(-width // image.shape[1]), 1)
    return np.tile(image, repeats)[:height, :width]


@pytest.mark.parametrize("format_", NAMES)
def test_file_does_what_the_network_does_at_every_size_and_by_tiles(
    files: dict[str, Path], predictor: Predictor, format_: str
) -> None:
    exported = fcn.load_predictor(str(files[format_]), max_height=None)
    assert (exported.model, exported.classes, exported.frame_height) == (None, predictor.classes, 96)
    for size in ((1, 1), (37, 49), (300, 420)):
        image = frame(*size)
        expected = predictor.probabilities(image)
        for one in (exported, replace(exported, tile_pixels=2**15)):
            np.testing.assert_allclose(one.probabilities(image), expected, atol=1e-4)
            assert (one.labels(image) == expected.argmax(-1)).mean() > 0.9999
            labels, confidence = one.labels_and_confidence(image, 1)
            assert (labels.dtype, confidence.dtype) == (np.uint8, np.uint8)
            np.testing.assert_allclose(confidence, 255 * expected[..., 1], atol=0.6)
    for size in [(40, 56)] * 7 + [(56, 40)] * 2 + [(40, 56)]:  # OpenVINO compiles for a size that is repeated
        image = frame(*size)
        np.testing.assert_allclose(exported.probabilities(image), predictor.probabilities(image), atol=1e-4)
    assert not np.array_equal(exported.labels(frame(37, 49)), exported.labels(frame(49, 37)[::-1]))


@pytest.mark.parametrize("format_", NAMES)
def test_file_says_what_it_is_and_how_it_was_proven(files: dict[str, Path], smoke_run: Path, format_: str) -> None:
    exported = ExportedModel.open(files[format_])
    trained = TrainedModel.of_run(smoke_run)
    about = exported.metadata
    assert (about["fcn"], about["format"], about["precision"]) == (fcn.__version__, format_, "float32")
    assert (about["size"], about["outputs"]) == (None, ("labels", "logits"))
    assert about["weights"] == {"step": trained.record["step"], "sha256": trained.record["sha256"]}
    assert about["classes"][1] == {"name": "road", "color": [128, 64, 128], "road": True}
    proof = about["proof"]
    assert (proof["frames"], proof["pixels"]) == (16, 16 * 96 * 320)
    assert proof["equal"] >= 0.9999
    assert list(proof["other_sizes"]) == ["37x49", "73x213", "121x401", "all"]
    assert 0 < proof["largest_difference"] < 1e-3
    assert proof["network_miou"] == pytest.approx(trained.record["miou"], abs=1e-4)
    assert exported.config().data == trained.config().data
    assert f"({format_}, float32, any size, step 80)" in exported.description()


@pytest.mark.usefixtures("_in_this_process")
def test_nothing_of_the_machine_is_stored(smoke_run: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", frame(40, 60))
    trained = TrainedModel.of_run(smoke_run)
    config = trained.config(["data.kind=camvid", "data.root=/home/somebody/CamVid", "data.labels=road"])
    options = ExportOptions(format="saved_model", check=tmp_path, size=(32, 64))
    proof = export(trained, config, tmp_path / "net", options)
    assert (proof["frames"], proof["miou"], proof["other_sizes"]) == (1, None, {})
    assert "somebody" not in (tmp_path / "net" / "fcn.json").read_text()
    exported = load_predictor(tmp_path / "net")
    assert exported.network_height(500) == 32
    assert exported.labels(frame(50, 70)).shape == (50, 70)  # resized to the only size and back
    with pytest.raises(UserError, match=r"net: has no probabilities; export the network again with --output"):
        exported.labels_and_confidence(frame(50, 70), 1)
    with pytest.raises(UserError, match=r"tta: scales: the network takes one size only"):
        load_predictor(tmp_path / "net", tta=("scales",))


def broken_weight(form: InferenceForm) -> None:
    form.kernel.assign(form.kernel * 1.01)


def broken_scale(form: InferenceForm) -> None:
    """As if pixels came in as they are."""
    layer = form.trunk.get_layer("preprocessing")
    layer.scale = 1.0
    layer.offset = 0.0


def broken_channels(form: InferenceForm) -> None:
    first = form.trunk.get_layer("block1_conv1")
    kernel, *bias = first.get_weights()
    first.set_weights([kernel[:, :, ::-1], *bias])


def broken_argmax(form: InferenceForm) -> None:
    labels = form._labels
    form._labels = lambda scores: (labels(scores) + 1) % 2


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (broken_weight, r"a logit differs by .*; float32 needs 0\.001$"),
        (broken_scale, r"the class is equal on .* of the pixels; float32 needs 99\.99%$"),
        (broken_channels, r"the class is equal on .* of the pixels; float32 needs 99\.99%$"),
        (broken_argmax, r"the class is equal on 0\..*% of the pixels; float32 needs 99\.99%$"),
    ],
)
def test_broken_export_is_refused_and_leaves_nothing(
    smoke_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[InferenceForm], None],
    reason: str,
) -> None:
    def damaged(form: InferenceForm, *arguments: object) -> None:
        damage(form)
        tf.config.run_functions_eagerly(False)
        save_form(form, *arguments)

    monkeypatch.setattr("fcn.export.export.run_conversion", convert)
    monkeypatch.setattr("fcn.export.convert.save_form", damaged)
    trained = TrainedModel.of_run(smoke_run)
    with pytest.raises(UserError, match="net: is not written: the export does not agree with the network: " + reason):
        export(trained, trained.config(), tmp_path / "net", ExportOptions(format="saved_model"))
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_in_this_process")
def test_interrupted_replacement_leaves_no_older_network_with_newer_weights(
    files: dict[str, Path], smoke_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (files["openvino"], files["openvino"].with_suffix(".bin")):
        shutil.copy(file, tmp_path)
    before = ExportedModel.open(tmp_path / "net.xml").metadata
    trained = TrainedModel.of_run(smoke_run)
    write_image(tmp_path / "a.png", frame(40, 60))
    options = ExportOptions(format="openvino", check=tmp_path)
    export(trained, trained.config(), tmp_path / "net.xml", options)
    assert ExportedModel.open(tmp_path / "net.xml").metadata["outputs"] != before["outputs"]
    replace_file = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        if target.suffix == ".xml":
            raise KeyboardInterrupt
        return replace_file(path, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(trained, trained.config(), tmp_path / "net.xml", options)
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "net.bin"}


class Shifted:
    """A network whose labels are those of the reference but for a part of the pixels."""

    model = None
    radius = 0

    def __init__(self, wrong: float, wrong_elsewhere: float = 0.0, size: tuple[int, int] | None = None):
        self.wrong = wrong
        self.wrong_elsewhere = wrong_elsewhere
        self.size = size

    def run(self, pixels: np.ndarray, *outputs: str) -> list[np.ndarray]:
        labels = logits_of(pixels).argmax(-1).astype(np.uint8)
        wrong = self.wrong if pixels.shape[:2] == (100, 100) else self.wrong_elsewhere
        labels.reshape(-1)[: round(wrong * labels.size)] ^= 1
        return [labels for _ in outputs]


def logits_of(pixels: np.ndarray) -> np.ndarray:
    """Class 1 where the red is above 127."""
    return np.stack([np.full(pixels.shape[:2], 127.5), pixels[..., 0]], axis=-1).astype(np.float32)


class Broken(Shifted):
    """A network with a mistake in one output only."""

    def __init__(self, mistake: str):
        super().__init__(0.0)
        self.mistake = mistake

    def run(self, pixels: np.ndarray, *outputs: str) -> list[np.ndarray]:
        logits = logits_of(pixels)
        labels = logits.argmax(-1).astype(np.uint8)
        if self.mistake == "no class":
            labels += 1
        if self.mistake == "nan":
            logits[-1, -1] = np.nan
        odds = np.exp(logits / 255)
        probabilities = odds[..., ::-1] if self.mistake == "channels" else odds
        results = {"labels": labels, "logits": logits, "probabilities": probabilities}
        return [results[name] for name in outputs]


@pytest.mark.parametrize(
    ("mistake", "precision", "refused"),
    [
        ("none", "float32", None),
        ("nan", "float32", "a logit differs by nan"),
        ("no class", "float32", "the class is equal on 0.0000%"),
        ("no class", "int8", "mIoU differs by 1.0000"),
        ("channels", "float32", "the class is equal on 0.0000%"),
    ],
)
def test_each_output_is_compared(mistake: str, precision: str, refused: str | None) -> None:
    image = np.random.default_rng(0).integers(0, 256, (10, 30, 3), dtype=np.uint8)
    label = logits_of(image).argmax(-1).astype(np.uint8)
    network = Broken(mistake)
    classes = fcn.load_predictor(SHIPPED).classes[:2]
    proof = prove(logits_of, network, [(image, label)], classes, outputs=("labels", "probabilities"), scores=network)
    assert list(proof["other_sizes"]) == ["37x49", "73x65", "121x121", "all"]
    reason = refusal(proof, precision)
    assert reason is None if refused is None else refused in reason, reason


def test_large_images_are_compared_by_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcn.export.proof.TILE_PIXELS", 128**2)
    image = np.random.default_rng(0).integers(0, 256, (130, 700, 3), dtype=np.uint8)
    shapes = []
    proof = prove(
        lambda pixels: shapes.append(pixels.shape) or logits_of(pixels),
        Shifted(0.0),
        [(image, None)],
        fcn.load_predictor(SHIPPED).classes[:2],
    )
    assert (proof["pixels"], proof["equal"]) == (130 * 700, 1)
    assert max(height * width for height, width, _ in shapes[:-3]) <= 160**2


@pytest.mark.parametrize(
    ("wrong", "elsewhere", "truth", "refused"),
    [
        (0.0099, 0.0, False, None),
        (0.0101, 0.0, False, "98.9900%.* needs 99%, or 0.005 of mIoU"),
        (0.0101, 0.0, True, "98.9900%.* and mIoU differs by 0.0"),
        (0.0099, 0.03, True, "but at other sizes on 9"),
    ],
)
def test_int8_may_differ_on_one_pixel_in_a_hundred_or_little_in_its_score(
    wrong: float, elsewhere: float, truth: bool, refused: str | None
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    label = logits_of(image).argmax(-1).astype(np.uint8)
    network = Shifted(wrong, elsewhere)
    proof = prove(logits_of, network, [(image, label if truth else None)], fcn.load_predictor(SHIPPED).classes[:2])
    reason = refusal(proof, "int8")
    assert reason is None if refused is None else re.search(refused, reason), reason


def test_exported_file_is_run_and_scored_where_there_is_no_tensorflow(
    files: dict[str, Path], smoke_run: Path, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = tmp_path / "absent"
    for name in ("tensorflow", "keras"):
        (absent / name).mkdir(parents=True)
        (absent / name / "__init__.py").write_text("raise ImportError('not installed')")
    write_image(tmp_path / "a.png", frame(96, 200))
    monkeypatch.setenv("PYTHONPATH", f"{absent}:{ROOT}")
    for format_ in ("litert", "onnx", "openvino"):
        out = tmp_path / format_
        done = run_process("infer", tmp_path / "a.png", "--model", files[format_], "--out", out, "--confidence", "road")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"weights: {files[format_]} ({format_}, float32, any size, step 80)\n")
        assert sorted(path.name for path in out.iterdir()) == ["a_confidence.png", "a_mask.png", "a_overlay.png"]
    done = run_process("evaluate", "--model", files["onnx"], "--json", tmp_path / "scores.json")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    record = TrainedModel.of_run(smoke_run).record
    assert scores["miou"] == pytest.approx(record["miou"], abs=1e-4)
    assert (scores["step"], scores["sha256"]) == (record["step"], record["sha256"])
    monkeypatch.undo()
    done = script("infer", tmp_path / "a.png", "--model", files["saved_model"], "--out", tmp_path / "saved_model")
    assert done.returncode == 0, done.stderr
    masks = {(tmp_path / format_ / "a_mask.png").read_bytes() for format_ in NAMES}
    assert len(masks) == 1


def test_command_makes_a_video_of_a_folder_and_of_a_video(
    files: dict[str, Path], script: Script, tmp_path: Path
) -> None:
    (tmp_path / "drive").mkdir()
    for index in range(3):
        write_image(tmp_path / "drive" / f"{index}.png", np.roll(frame(96, 200), 9 * index, axis=1))
    model = ("--model", files["onnx"], "--out", tmp_path)
    done = script("infer", tmp_path / "drive", "--fps", "10", *model)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{tmp_path}/drive_overlay.mp4: 3 frames of 96 x 200, " in done.stdout
    done = script("infer", tmp_path / "drive_overlay.mp4", "--masks", "--max-height", "48", *model)
    assert " frames of 96 x 200, segmented at a height of 48 pixels, " in done.stdout
    assert f"\nmasks: {tmp_path}/drive_overlay_masks\n" in done.stdout
    assert len(list((tmp_path / "drive_overlay_masks").iterdir())) == 3
    mistakes = {
        "drive --fps 10 --legend": "--confidence, --legend: are for images; leave them out for a video",
        "drive --masks": "--masks, --fps: are for videos and folders of frames; name one",
        "drive drive_overlay.mp4": "drive: is no video, and drive_overlay.mp4 is one; segment them one after the other",
        "a/x.mp4 x.mov": "a/x.mp4, x.mov: two have one name, and so would their overlays; rename one",
        "x.mp4": "x.mp4: cannot be opened as a video: No such file",
    }
    for arguments, message in mistakes.items():
        done = script("infer", *arguments.split(), *model, cwd=tmp_path)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_snippets_of_the_page_on_deploying_give_the_labels_of_the_network(
    files: dict[str, Path], predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in files["onnx"].parent.iterdir():
        (tmp_path / file.name.replace("net", "road")).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "photo.jpg", frame(96, 320))
    expected = predictor.labels("photo.jpg")
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "deploy.md").read_text(), re.DOTALL)
    assert len(snippets) == 5
    for snippet in (*snippets[:4], snippets[1] + snippets[4]):
        names: dict[str, np.ndarray] = {}
        exec(snippet, names)  # noqa: S102
        assert (names["labels"] == expected).mean() > 0.999
    colors = np.array([one.color for one in predictor.classes], np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "labels.png"), colors[names["labels"]])


@pytest.mark.parametrize("name", ["net.onnx", "net.tflite", "net.xml", "net"])
def test_file_that_is_no_export_is_refused_in_a_line(tmp_path: Path, name: str, files: dict[str, Path]) -> None:
    path = tmp_path / name
    with pytest.raises(UserError, match=rf"^.*{name}: (no such file|is not a run)[^\n]*$"):
        fcn.load_predictor(path)
    if path.suffix:
        path.write_bytes(b"<html>" * 50)
    else:
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"<html>" * 50)
    with pytest.raises(UserError, match=rf"^.*{name}: cannot be read as an export of fcn: [^\n]+; name a file of"):
        fcn.load_predictor(path)
    if name == "net.onnx":  # of somebody else
        import onnx

        model = onnx.load(files["onnx"])
        del model.metadata_props[:]
        onnx.save(model, path)
        with pytest.raises(UserError, match=r"net\.onnx: cannot be read as an export of fcn: "):
            fcn.load_predictor(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": 1}, "precision: 1 is not text"),
        ({"size": [32]}, "size: [32] is not a list of 2 numbers"),
        ({"size": [0, 32]}, "size, frame_height or radius: is too small"),
        ({"frame_height": "96"}, "frame_height: '96' is not a whole number"),
        ({"radius": None}, "radius: None is not a whole number"),
        ({"classes": [{"name": 1, "color": [0, 0, 0]}]}, "1 is not text"),
        ({"classes": [{"name": "a", "color": "abc"}]}, "'a' is not a whole number"),
        ({"classes": [{"name": "a", "color": [0, 0, 256]}]}, "256 out of bounds for uint8"),
        ({"classes": [{"name": "a", "color": [0, 0, 0], "shape": 1}]}, "unexpected keyword argument 'shape'"),
        ({"weights": {"step": "last"}}, "'last' is not a whole number"),
        ({"settings": {"data.kind": 5, "data.root": [1]}}, "settings: --set data.kind=5: data.kind: '5' is not one of"),
    ],
)
def test_metadata_of_other_types_are_refused_in_a_line(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], message: str
) -> None:
    text = json.dumps({**ExportedModel.open(files["onnx"]).metadata, **changes})
    monkeypatch.setitem(OPEN, "onnx", lambda _: (None, text))
    with pytest.raises(UserError, match=rf"^.*cannot be read as an export of fcn: [^\n]*{re.escape(message)}[^\n]*$"):
        load_predictor(files["onnx"])


def test_classes_are_those_of_the_file_in_any_script(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("Straße", "🚗")
    stored = {
        "data.kind": "folder",
        "data.root": "mine",
        "data.labels": "all",
        "data.class_names": names,
        "data.class_colors": ((0, 0, 0), (1, 2, 3)),
    }
    text = json.dumps({**ExportedModel.open(files["onnx"]).metadata, "settings": stored})
    monkeypatch.setitem(OPEN, "onnx", lambda _: (None, text))
    exported = ExportedModel.open(files["onnx"])
    assert exported.config().data.class_names == names
    config = exported.config(["data.class_names=[a, b, c]", "data.class_colors=[[0,0,0], [1,2,3], [4,5,6]]"])
    with pytest.raises(UserError, match=r"net\.onnx: has 2 classes, and the config 3; drop --set$"):
        load_predictor(exported, config)


@pytest.mark.parametrize("size", [(1, 1), (24, 2000), (64, 1024), (1024, 33)])
def test_network_of_one_size_gets_each_image_whole(size: tuple[int, int]) -> None:
    network = Shifted(0.0, size=size)
    shapes = []
    run = network.run
    network.run = lambda pixels, *outputs: shapes.append(pixels.shape) or run(pixels, *outputs)
    predictor = Predictor(network, fcn.load_predictor(SHIPPED).classes[:2])
    for height, width in ((1, 1), (40, 700)):
        assert predictor.labels(np.full((height, width, 3), 200, np.uint8)).tolist() == [[1] * width] * height
    assert shapes == [(*size, 3)] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--format onnx --out a.tflite", "a.tflite: a file of onnx ends in .onnx; name another --out"),
        ("--format saved_model --out a.onnx", "a.onnx: a file of saved_model is a folder, without an ending"),
        ("--format openvino --out a.XML", "a.XML: a file of openvino ends in .xml; name another --out"),
        ("--format onnx --out no/a.onnx", "no: no such folder; create it or name another --out"),
        ("--format saved_model --out fcn", "fcn: exists and is a folder; name another --out"),
        ("--format saved_model --out a --precision int8", "--precision int8: a SavedModel is float32"),
        ("--format onnx --out a.onnx --size 360x480", "--size 360x480: is not a size; name height and width in pixels"),
        (
            "--format onnx --out a.onnx --calibration-frames 0",
            "--calibration-frames, --calibration-seed: name at least",
        ),
        ("--format onnx --out a.onnx --set train.steps=1", "--set train.steps: is a setting of the training"),
        ("--format onnx --out a.onnx --set data.root=no", "or name a folder of images to compare on: --check DIR"),
        (
            "--format openvino --out a.xml",
            "--format openvino: needs the package openvino; pip install 'fcn-roads[export]'",
        ),
    ],
)
def test_export_that_cannot_be_is_refused_in_a_line(
    script: Script, arguments: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # as if it were not installed
    done = script("export", "--weights", SHIPPED, *arguments.split())
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_missing_runtime_is_named_with_the_command_that_installs_it(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        UserError, match=r"net\.onnx: needs the package onnxruntime .*; pip install 'fcn-roads\[export\]'$"
    ):
        load_predictor(files["onnx"])


@pytest.fixture(scope="module")
def some_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CamVid with every twelfth frame."""
    root = tmp_path_factory.mktemp("CamVid")
    for split in ("train", "val"):
        names = sorted(path.stem for path in (CAMVID / split).glob("*.png"))
        (root / f"{split}.txt").write_text("\n".join(names[::12]))
        for folder in (split, f"{split}annot"):
            (root / folder).symlink_to((CAMVID / folder).resolve())
    return root


@pytest.mark.slow
@pytest.mark.skipif(not CAMVID.is_dir(), reason="calibration and proof need frames of CamVid under data/CamVid")
@pytest.mark.parametrize(
    ("format_", "precision", "size"),
    [
        ("saved_model", "float32", None),
        *((format_, precision, None) for format_ in list(NAMES)[1:] for precision in ("float32", "float16", "int8")),
        ("openvino", "int8", "360,480"),
    ],
)
def test_shipped_network_is_exported_with_its_proof(
    tmp_path: Path, some_frames: Path, format_: str, precision: str, size: str | None
) -> None:
    out = tmp_path / NAMES[format_]
    options = ["--format", format_, "--precision", precision, "--set", f"data.root={some_frames}", "--out", out]
    options += ["--size", size] if size else []
    done = run_process("export", "--weights", SHIPPED, *options)
    assert done.returncode == 0, done.stderr
    equal, sizes = re.search(
        r"agrees with the network on ([\d.]+)% of the pixels of 9 frames(.*)", done.stdout
    ).groups()
    assert float(equal) > {"float32": 99.99, "float16": 99.8, "int8": 99.0}[precision]
    assert sizes.count(" at ") == (0 if size else 3)
    miou, of_network = map(float, re.search(r"mIoU ([\d.]+), of the network ([\d.]+)", done.stdout).groups())
    assert abs(miou - of_network) < 0.005
    assert out.exists()

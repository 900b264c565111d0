"""Videos: every frame gets its overlay at its time, and what was done of a broken or interrupted one stays playable."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import file_size_limit

from fcn.datasets.dataset import BACKGROUND_AND_ROAD
from fcn.errors import UserError
from fcn.files import PART
from fcn.images import Array, read_label, write_image
from fcn.inference.video import is_video, segment_video
from fcn.pictures import overlay

av = pytest.importorskip("av", reason="video needs PyAV: pip install 'fcn-roads[video]'")

NTSC = Fraction(30000, 1001)


def bright(image: Array) -> Array:
    """Labels of a fake network, uint8 (H, W): the brighter pixels are road."""
    return (image[..., 1] > 127).astype(np.uint8)


def fake_predictor(labels: Callable[[Array], Array] = bright, max_megapixels: int = 1) -> Any:
    return SimpleNamespace(classes=BACKGROUND_AND_ROAD, labels=labels, max_megapixels=max_megapixels)


PREDICTOR = fake_predictor()


def picture(index: int, height: int = 48, width: int = 64) -> Array:
    """A dark frame, uint8 (H, W, 3), whose bright part grows with its number; the upper rows are noise."""
    image = np.full((height, width, 3), (60, 40, 90), np.uint8)
    image[height // 2 :, : 4 + 2 * index] = (200, 220, 180)
    image[:8] = np.random.default_rng(index).integers(0, 100, (8, width, 3))
    return image


def make_video(path: Path, count: int = 24, rate: Fraction = NTSC, rotation: int = 0) -> Path:
    """A video of the pictures 0, 1, ...; the header is at the start."""
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4" if path.suffix == ".avi" else "libx264", rate=rate)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.bit_rate = 2_000_000
        if rotation:
            stream.set_display_rotation(rotation)
        for index in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), "rgb24")))
        container.mux(stream.encode(None))
    return path


def read_video(path: Path) -> tuple[Fraction, list[float], list[Array]]:
    """Frame rate, times in seconds, and frames (H, W, 3)."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        rate = container.streams.video[0].average_rate
    return rate, [frame.time for frame in frames], [frame.to_ndarray(format="rgb24") for frame in frames]


def expected_overlay(image: Array) -> Array:
    return overlay(image, bright(image), BACKGROUND_AND_ROAD)


def difference(frame: Array, expected: Array) -> float:
    """Mean over the pixels below the noise."""
    return float(np.abs(frame[10:].astype(int) - expected[10:]).mean())


def check_frames(path: Path, count: int, rate: Fraction) -> None:
    """The video has `count` frames, each the overlay of the picture whose time it has and not of those around it."""
    _, times, frames = read_video(path)
    assert len(frames) == count
    for time, frame in zip(times, frames, strict=True):
        index = round(time * rate)
        errors = [difference(frame, expected_overlay(picture(other))) for other in range(32)]
        assert errors[index] < 6
        assert index == np.argmin(errors)


@pytest.mark.parametrize(("ending", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4")])
def test_every_frame_gets_its_overlay_at_the_rate_of_the_video(
    tmp_path: Path, ending: str, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_video(tmp_path / f"drive.{ending}")
    monkeypatch.setattr(av, "codecs_available", {"mpeg4", codec})  # without H.264, MPEG-4
    result = segment_video(PREDICTOR, source, tmp_path / "out")
    rate, times, _ = read_video(result.overlay)
    rounding = 1e-3 if ending == "mkv" else 1e-5  # its times are in milliseconds
    assert float(rate) == pytest.approx(float(NTSC), rel=2 * rounding)
    assert times == pytest.approx([index / NTSC for index in range(24)], abs=rounding)
    check_frames(result.overlay, 24, NTSC)
    assert (result.frames, result.size, result.interrupted, result.problem) == (24, (48, 64), False, None)
    assert result.overlay == tmp_path / "out" / "drive_overlay.mp4"
    assert list(result.overlay.parent.iterdir()) == [result.overlay]
    assert 0 < result.frames_per_second < 10_000


def test_varying_times_are_kept(tmp_path: Path) -> None:
    times = [0, 0.04, 0.08, 0.5, 0.507, 1]
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = 48, 64
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, seconds in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24")
            frame.pts = round(1000 * seconds)
            for packet in stream.encode(frame):
                packet.duration = 3000
                container.mux(packet)
    result = segment_video(PREDICTOR, tmp_path / "a.mp4", tmp_path)
    assert read_video(result.overlay)[1] == pytest.approx(times, abs=1e-3)
    assert result.problem is None  # although the last frame is shown for 3 seconds


def test_masks_are_labels_of_each_frame(tmp_path: Path) -> None:
    result = segment_video(PREDICTOR, make_video(tmp_path / "a.mp4", count=3), tmp_path, masks=True)
    assert result.masks == tmp_path / "a_masks"
    files = sorted(result.masks.iterdir())
    assert [file.name for file in files] == ["000000_mask.png", "000001_mask.png", "000002_mask.png"]
    for index, file in enumerate(files):
        assert (read_label(file) != bright(picture(index))).mean() < 0.02  # a video is lossy at edges


@pytest.mark.skipif(not hasattr(av.VideoStream, "set_display_rotation"), reason="this PyAV writes no rotated videos")
@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (-90, 3), (180, 2)])
def test_video_of_a_phone_is_turned_upright(tmp_path: Path, degrees: int, turns: int) -> None:
    seen = []

    def labels(image: Array) -> Array:
        seen.append(image)
        return bright(image)

    source = make_video(tmp_path / "a.mp4", count=2, rotation=degrees)
    result = segment_video(fake_predictor(labels), source, tmp_path)
    expected = np.rot90(picture(0), turns)  # counterclockwise, as the display matrix counts
    assert result.size == expected.shape[:2]
    assert difference(seen[0], expected) < 6


def test_folder_of_frames_is_a_video_of_odd_size_in_the_order_of_names(tmp_path: Path) -> None:
    folder = tmp_path / "frames.1"
    folder.mkdir()
    for index in (2, 0, 1):
        write_image(folder / f"{index}.png", picture(index, height=47, width=63))
    (folder / "notes.txt").touch()
    result = segment_video(PREDICTOR, folder, tmp_path, fps=12.5)
    rate, times, frames = read_video(result.overlay)
    assert result.overlay.name == "frames.1_overlay.mp4"
    assert result.size == (47, 63)
    assert rate == Fraction(25, 2)
    assert times == pytest.approx([0, 0.08, 0.16])
    for index, frame in enumerate(frames):
        expected = np.pad(expected_overlay(picture(index, 47, 63)), ((0, 1), (0, 1), (0, 0)), mode="edge")
        assert frame.shape == (48, 64, 3)
        assert difference(frame, expected) < 6
    # a damaged image ends the video, one of another size is scaled
    (folder / "4.png").write_text("text")
    road = np.full((48, 64, 3), (200, 220, 180), np.uint8)
    write_image(folder / "3.png", road[:32])
    result = segment_video(PREDICTOR, folder, tmp_path, fps=12.5)
    assert re.search(r"4.png: is not a PNG or JPEG; .*; the 4 frames before are done", str(result.problem))
    frames = read_video(result.overlay)[2]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 4
    assert difference(frames[3], expected_overlay(road)) < 6


def test_interrupted_video_ends_with_the_last_whole_frame(tmp_path: Path) -> None:
    calls = []

    def labels(image: Array) -> Array:
        calls.append(image)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return bright(image)

    (tmp_path / "drive_overlay.mp4").write_text("an older one")
    source = make_video(tmp_path / "drive.mp4")
    result = segment_video(fake_predictor(labels), source, tmp_path)
    assert (result.frames, result.interrupted, result.problem) == (7, True, None)
    check_frames(result.overlay, 7, NTSC)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_what_was_done_of_a_cut_off_video_stays(tmp_path: Path, ending: str) -> None:
    source = make_video(tmp_path / f"drive.{ending}", count=30, rate=Fraction(15))
    content = source.read_bytes()
    for share in (0.4, 0.6):
        source.write_bytes(content[: round(share * len(content))])
        result = segment_video(PREDICTOR, source, tmp_path)
        assert 3 < result.frames < 25
        check_frames(result.overlay, result.frames, Fraction(15))
        problem = rf"{source}: is [^\n]*cut off[^\n]*; the {result.frames} frames before are done"
        assert re.fullmatch(problem, str(result.problem))


def test_input_without_a_frame_is_refused_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    empty = tmp_path / "empty"
    empty.mkdir()
    make_video(tmp_path / "large.mp4", count=1)
    tiny = fake_predictor(max_megapixels=0)
    before = sorted(tmp_path.iterdir())
    for content in (b"", b"garbage" * 1000, (tmp_path / "large.mp4").read_bytes()[:200]):
        source.write_bytes(content)
        with pytest.raises(UserError, match=r"^\S+a.mp4: (cannot be opened as a video: Invalid|has no pict)[^\n]*$"):
            segment_video(PREDICTOR, source, tmp_path)
    source.unlink()
    for path, rate, predictor, problem in (
        (source, None, PREDICTOR, "cannot be opened as a video: No such file"),
        (Path("/dev/video99"), None, PREDICTOR, "cannot be opened as a video: No such file"),
        (empty, 25, PREDICTOR, "has no frame"),
        (empty, None, PREDICTOR, "a folder of frames needs --fps of 0.01 to 1000; got None"),
        (empty, 0, PREDICTOR, "a folder of frames needs --fps of 0.01 to 1000; got 0"),
        (tmp_path / "large.mp4", 25, PREDICTOR, "--fps is for a folder of frames"),
        (tmp_path / "large.mp4", None, tiny, "has 64 x 48 pixels, more than data.max_megapixels=0"),
    ):
        with pytest.raises(UserError, match=f"^{path}: {problem}"):
            segment_video(predictor, path, tmp_path, fps=rate)
    assert sorted(tmp_path.iterdir()) == before


def test_full_disk_names_the_video_and_leaves_the_old_one(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4")
    (tmp_path / "a_overlay.mp4").write_text("an older one")
    with file_size_limit(5000), pytest.raises(OSError, match="File too large") as caught:
        segment_video(PREDICTOR, source, tmp_path)
    assert caught.value.filename == str(tmp_path / "a_overlay.mp4")
    assert (tmp_path / "a_overlay.mp4").read_text() == "an older one"
    assert not list(tmp_path.glob(f"{PART}*"))


def test_missing_pyav_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"^a.mp4: video needs PyAV; pip install 'fcn-roads\[video\]'$"):
        segment_video(PREDICTOR, Path("a.mp4"), tmp_path)


def test_videos_are_known_by_ending_and_cameras_by_path() -> None:
    assert all(map(is_video, ["a.mp4", Path("b/C.MOV"), "/dev/video0", "a.mpg"]))
    assert not any(map(is_video, ["a.png", "mp4", "/dev/null", "video0"]))

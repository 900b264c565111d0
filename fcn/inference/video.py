"""A video, a camera or a folder of frames -> a video of overlays, through PyAV, which only the extra `video` installs.

Audio is not copied. Videos of phones are turned upright. A frame of another size than the first is scaled to it. A last
row and column are repeated where a size is odd: the pixel format yuv420p, which every player shows, has even sizes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from fcn import images
from fcn.errors import UserError
from fcn.files import whole_file
from fcn.images import Array, read_image, write_mask
from fcn.pictures import overlay

if TYPE_CHECKING:
    from fcn.inference.predictor import Predictor

ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg")
TICKS = 60_000  # of a second, in which times are written: whole numbers of them at 25, 30, 50, 60 and 30000/1001 frames
ENCODERS = {"libx264": {"crf": "20", "preset": "veryfast"}, "mpeg4": {"qmin": "3", "qmax": "3"}}  # the first at hand
BT601 = 6  # number in H.264 of the matrix by which PyAV makes YUV of RGB
SHORTFALL = 0.5  # seconds by which a video may end before the length in its header; audio may be that much longer
Frames = Iterator[tuple[Array, int]]  # uint8 RGB (H, W, 3), each with its time in ticks, which increases


@dataclass
class VideoResult:
    """What was written of a video."""

    overlay: Path
    masks: Path | None  # the folder of the masks
    size: tuple[int, int]  # (height, width) of a frame in pixels
    frames: int = 0
    frames_per_second: float = 0.0  # at which it was segmented
    interrupted: bool = False  # by Ctrl-C
    problem: str | None = None  # a line, if the input is damaged and the output therefore shorter


def is_camera(name: str | Path) -> bool:
    """Whether an input is a camera, such as /dev/video0."""
    return str(name).startswith("/dev/video")


def is_video(name: str | Path) -> bool:
    """Whether an input is a video, by its ending, or a camera."""
    return is_camera(name) or Path(name).suffix.lower() in ENDINGS


def check_pyav(source: str | Path) -> None:
    """Raises UserError if PyAV is not installed, which `source` needs."""
    if find_spec("av") is None:
        raise UserError(f"{source}: video needs PyAV; pip install 'fcn-roads[video]'")


def segment_video(
    predictor: Predictor, source: Path, out: Path, alpha: float = 0.5, masks: bool = False, fps: float | None = None
) -> VideoResult:
    """Writes NAME_overlay.mp4, with the times of the source's frames, and with `masks` NAME_masks/000000_mask.png, ...

    `fps`, frames per second, is for a folder of frames, and only for it. Ctrl-C ends the video with the frame before;
    for a camera it is the only end. Older masks of a longer video stay. Raises UserError if there is not one frame to
    segment, it is too large, or PyAV is missing, and OSError if the output cannot be written.
    """
    check_pyav(source)
    stem = source.absolute().name if source.is_dir() else source.stem
    frames, rate, total = _opened(source, fps, predictor.max_megapixels)
    first = next(frames, None)
    if first is None:
        raise UserError(f"{source}: has no frame; replace it")
    frames = chain([first], frames)
    height, width, _ = first[0].shape
    result = VideoResult(out / f"{stem}_overlay.mp4", out / f"{stem}_masks" if masks else None, size=(height, width))
    (result.masks or out).mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with whole_file(result.overlay) as temporary, _encoder(temporary, height, width, rate) as encode:

        def finish(number: int, image: Array, mask: Array, ticks: int) -> None:
            if result.masks is not None:
                write_mask(result.masks / f"{number:06}_mask.png", mask, predictor.classes)
            encode(overlay(image, mask, predictor.classes, alpha=alpha), ticks)

        bar = tqdm(total=total, desc=stem, unit="frame", leave=False, disable=None)
        with bar, ThreadPoolExecutor(2) as workers:  # the next frame is read, and the last one written, meanwhile
            finished: Future[None] = workers.submit(lambda: None)
            try:
                coming = workers.submit(next, frames, None)
                while (frame := coming.result()) is not None:
                    coming = workers.submit(next, frames, None)
                    image, ticks = frame
                    mask = predictor.labels(image)
                    finished.result()
                    finished = workers.submit(finish, result.frames, image, mask, ticks)
                    result.frames += 1
                    bar.update()
            except KeyboardInterrupt:
                result.interrupted = True
            except UserError as error:
                result.problem = f"{error}; the {result.frames} frames before are done"
            finished.result()
    result.frames_per_second = result.frames / (time.perf_counter() - start)
    return result


@contextmanager
def _encoder(path: Path, height: int, width: int, rate: Fraction) -> Iterator[Callable[[Array, int], None]]:
    """Yields what adds uint8 RGB (H, W, 3) and its time in ticks to an MP4 file, which is whole after the block."""
    import av

    def encode(picture: Array, ticks: int) -> None:
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(even, "rgb24")
        frame.pts = ticks
        frame.time_base = Fraction(1, TICKS)
        container.mux(stream.encode(frame))

    codec = next(name for name in ENCODERS if name in av.codecs_available)
    try:
        # an absolute path, because FFmpeg takes "a:b" for a protocol
        with av.open(os.path.abspath(path), "w", format="mp4") as container:
            stream: Any = container.add_stream(codec, rate=rate, options=ENCODERS[codec])
            stream.height = height + height % 2
            stream.width = width + width % 2
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, TICKS)
            stream.codec_context.colorspace = BT601
            yield encode
            container.mux(stream.encode(None))
    except av.FFmpegError as error:  # such as a full disk; PyAV's cannot be given another name
        raise OSError(error.errno, error.strerror) from error


def _opened(source: Path, fps: float | None, max_megapixels: int) -> tuple[Frames, Fraction, int | None]:
    """The frames of a video, camera or folder (in the order of names), their average rate, and number if known."""
    if source.is_dir():
        if fps is None or not 0.01 <= fps <= 1000:
            raise UserError(f"{source}: a folder of frames needs --fps of 0.01 to 1000; got {fps}")
        rate = Fraction(fps).limit_denominator(1001)
        files = sorted(path for path in source.iterdir() if path.suffix.lower() in images.ENDINGS)
        pictures = ((read_image(file, max_megapixels), round(index * TICKS / rate)) for index, file in enumerate(files))
        return pictures, rate, len(files)
    if fps is not None:
        raise UserError(f"{source}: --fps is for a folder of frames; a video has its own; leave it out")
    import av

    try:
        container = av.open(os.path.abspath(source), format="v4l2" if is_camera(source) else None)
    except av.FFmpegError as error:
        raise UserError(f"{source}: cannot be opened as a video: {error.strerror}; name another") from error
    if not container.streams.video:
        raise UserError(f"{source}: has no pictures; name another")
    stream = container.streams.video[0]
    if stream.width * stream.height > max_megapixels * 10**6:
        rule = f"data.max_megapixels={max_megapixels}; reduce it"
        raise UserError(f"{source}: has {stream.width} x {stream.height} pixels, more than {rule}")
    rate = stream.average_rate or stream.guessed_rate or Fraction(30)
    length = Fraction(container.duration or 0, av.time_base)
    if stream.duration and stream.time_base:
        length = stream.duration * stream.time_base
    return _decoded(source, container, rate, length), rate, stream.frames or round(length * rate) or None


def _decoded(source: Path, container: Any, rate: Fraction, length: Fraction) -> Frames:
    """Upright frames; raises UserError where the video is broken, or ends before its `length` in seconds."""
    import av

    step = max(1, round(TICKS / rate))
    last = -step
    start = None
    end = 0.0
    try:
        for frame in container.decode(video=0):
            if frame.is_corrupt:
                raise UserError(f"{source}: is broken or cut off: a frame is damaged")
            ticks = last
            if frame.time is not None:
                start = frame.time if start is None else start
                ticks = round((frame.time - start) * TICKS)
            last = ticks if ticks > last else last + step  # such as in AVI, which stores no times
            end = last / TICKS + max(1 / rate, frame.duration * frame.time_base)
            pixels = frame.to_ndarray(format="rgb24")
            yield np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90))), last
    except av.FFmpegError as error:
        raise UserError(f"{source}: is broken or cut off: {error.strerror}") from error
    if end < length - SHORTFALL:
        raise UserError(f"{source}: is cut off after {end:.1f} of {float(length):.1f} seconds")

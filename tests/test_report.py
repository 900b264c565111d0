"""The report: its figures are those of the evaluation, and it opens in a browser without any request or error."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Script
from PIL import Image

from fcn.datasets.dataset import BACKGROUND_AND_ROAD, Dataset
from fcn.evaluation.kitti.benchmark import MEASURES
from fcn.images import IGNORE, SegmentationClass
from fcn.report.charts import Axis, Line, confusion_chart, line_chart, reliability_chart, standalone
from fcn.report.frames import ShownFrame, choose_frames, show_frame
from fcn.report.page import findings, page

CHROMIUM = shutil.which("chromium")
HOSTILE = "<script>document.title='taken'</script>\"'><img src=https://example.org/x onerror=alert(1)>&lt;\u202e\n"


class Browser:
    """Chromium without a window, spoken to over a pipe (Chrome DevTools Protocol)."""

    def __init__(self, profile: Path):
        command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        command += [f"--user-data-dir={profile}", "about:blank"]
        from_here, self.into = os.pipe()
        self.out, from_there = os.pipe()

        def connect() -> None:  # the browser reads from 3 and writes to 4
            reading = os.dup(from_here)
            writing = os.dup(from_there)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        self.process = subprocess.Popen(
            command, close_fds=False, preexec_fn=connect, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(from_here)
        os.close(from_there)
        self.buffer = b""
        self.number = 0
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        (target,) = [one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.into, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def read(self) -> dict[str, Any]:
        """The next answer or event; events are kept."""
        while b"\0" not in self.buffer:
            self.buffer += os.read(self.out, 2**20)
        text, _, self.buffer = self.buffer.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, path: Path, width: int, scheme: str = "light") -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.read()

    def value(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def requests_and_errors(self) -> tuple[list[str], list[object]]:
        requests = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        errors = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return requests, [event["params"] for event in self.events if event["method"] in errors]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.into)
        os.close(self.out)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def figures(smoke_run: Path) -> dict[str, Any]:
    return json.loads((smoke_run / "report.json").read_text())


def shown_in(names: list[str], smoke_run: Path) -> dict[str, list[ShownFrame]]:
    """Frames of these names with the pictures of the smoke run's report."""
    addresses = re.findall(r'src="(data:image[^"]+)"', (smoke_run / "report.html").read_text())
    pictures = dict(zip(("image", "ground truth", "prediction", "errors"), addresses, strict=False))
    return {"worst": [ShownFrame(name, 0.5, 0.5, pictures) for name in names], "best": []}


def test_training_leaves_a_report_with_the_scores_of_its_record(smoke_run: Path, figures: dict[str, Any]) -> None:
    best = json.loads((smoke_run / "best.json").read_text())
    for name in ("miou", "pixel_accuracy", "mean_accuracy", "fw_iou"):
        assert figures[name] == pytest.approx(best[name], abs=1e-6)
    assert np.abs(np.array(figures["confusion"]) - best["confusion"]).sum() <= 4  # another graph rounds otherwise
    assert figures["baseline"] == best["color_table"]
    assert [row["step"] for row in figures["curves"]["training"]] == [20, 40, 60, 80]
    assert [row["miou"] for row in figures["curves"]["evaluations"]][-1] == best["miou"]
    changed = {one["key"]: one["value"] for one in figures["config"] if one["changed"]}
    assert changed["augment.crop_size"] == [96, 192]
    assert "train.optimizer" not in changed
    assert figures["environment"] == json.loads((smoke_run / "environment.json").read_text())
    text = html.unescape((smoke_run / "report.html").read_text())
    ranked = sorted(figures["per_frame"], key=lambda frame: frame["miou"])
    for value in (figures["miou"], figures["ece"], figures["mean_boundary_f"], ranked[0]["miou"], ranked[-1]["miou"]):
        assert f"{value:.4f}" in text
    for name in ("val_", "data.synthetic_frames", "processor", *(line for line in findings(figures))):
        assert name in text


def test_command_writes_the_page_where_it_is_told(smoke_run: Path, script: Script, tmp_path: Path) -> None:
    done = script(
        "report", "--weights", smoke_run / "best.weights.h5", "--out", tmp_path / "page.html", "--split", "test"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"report: {tmp_path / 'page.html'}  figures: {tmp_path / 'page.json'}\n")
    figures = json.loads((tmp_path / "page.json").read_text())
    assert (figures["split"], figures["frames"]) == ("test", 1)
    for name in ("page.pdf", "nowhere/page.html"):
        done = script("report", "--run", smoke_run, "--out", tmp_path / name)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "name a file NAME.html in an existing folder" in done.stderr


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_page_opens_without_request_or_error_and_fits_the_window(
    browser: Browser, smoke_run: Path, width: int, scheme: str
) -> None:
    path = smoke_run / "report.html"
    browser.open(path, width, scheme)
    requests, errors = browser.requests_and_errors()
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    assert errors == []
    assert browser.value("document.documentElement.scrollWidth") <= width
    pictures = "[...document.images].every(one => one.complete && one.naturalWidth > 0)"
    assert browser.value(f"document.images.length > 0 && {pictures}")
    charts = "[...document.querySelectorAll('svg')].map(one => one.getAttribute('aria-label'))"
    assert set(browser.value(charts)) == {
        *("Confusion matrix", "Accuracy of pixels by confidence"),
        *("Loss", "Learning rate", "mIoU on the validation set"),
    }
    ends = "[...document.querySelectorAll('svg, img, p, h2')].map(one => one.getBoundingClientRect().right)"
    assert max(browser.value(ends)) <= width
    brightness = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", brightness)[:3])) > 384) == (scheme == "light")


def test_hostile_names_are_text(browser: Browser, smoke_run: Path, figures: dict[str, Any], tmp_path: Path) -> None:
    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {HOSTILE if key == "road" else key: renamed(one) for key, one in value.items()}
        if isinstance(value, list):
            return [renamed(one) for one in value]
        return HOSTILE if isinstance(value, str) else value

    classes = [SegmentationClass(HOSTILE, (1, 2, 3)) if one.road else one for one in BACKGROUND_AND_ROAD]
    path = tmp_path / "page.html"
    path.write_text(page(renamed(figures), classes, shown_in([HOSTILE], smoke_run)))
    browser.open(path, 390)
    requests, errors = browser.requests_and_errors()
    assert ([url for url in requests if not url.startswith("data:")], errors) == ([path.as_uri()], [])
    assert browser.value("document.querySelectorAll('script, [onerror], [src^=http]').length") == 0
    assert browser.value("document.title") != "taken"
    assert "<script>document.title='taken'</script>\"'><img" in browser.value("document.body.innerText")
    assert "\u202e" not in browser.value("document.body.innerText")
    assert browser.value("document.documentElement.scrollWidth") <= 390


def test_page_holds_the_measures_of_kitti_and_classes_that_are_only_predicted(figures: dict[str, Any]) -> None:
    measures = dict.fromkeys(MEASURES, 0.25)
    more = {"kitti_road": {"image": {"UM": {**measures, "MaxF": 0.875}}, "bev": {"URBAN": measures}}}
    more["recall"] = {"background": 0.5, "road": None}
    more["iou"] = {"background": 0.5, "road": 0.0}
    text = page({**figures, **more}, BACKGROUND_AND_ROAD, {"worst": [], "best": []})
    assert re.search(r"<td[^>]*>UM</td><td[^>]*>0.8750</td>", text)
    assert "In bird&#x27;s-eye view" in text
    assert "road: is predicted, and no pixel is labeled so." in text


def test_worst_frames_come_first_and_none_is_shown_twice() -> None:
    scores = [0.5, None, 0.1, 0.9, 0.3, 0.2]
    frames = [{"name": str(index), "miou": score} for index, score in enumerate(scores)]
    assert choose_frames(frames) == ([2, 5, 4, 0], [3])
    assert choose_frames(frames[:2]) == ([0], [])


def test_error_picture_has_the_true_color_of_wrong_pixels_only() -> None:
    label = np.array([[0, 1, IGNORE, 1]], np.uint8)
    prediction = np.array([[1, 1, 1, 0]], np.uint8)
    image = np.zeros((1, 4, 3), np.uint8)
    dataset = Dataset("val", BACKGROUND_AND_ROAD, ("a",), lambda _: (image, label))
    frame = show_frame(dataset, 0, {"miou": 0.5, "pixel_accuracy": 0.5}, lambda _: prediction)
    content = base64.b64decode(frame.pictures["errors"].partition(",")[2])
    colors = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))[0].tolist()
    background, road = (list(one.color) for one in BACKGROUND_AND_ROAD)
    assert colors == [background, [228, 228, 228], [0, 0, 0], road]


def test_findings_name_the_worst_classes_and_what_they_are_taken_for(figures: dict[str, Any]) -> None:
    lines = findings(
        {
            **figures,
            "iou": {"a": 0.5, "b": None, "c": 0.25},
            "recall": {"a": 0.75, "b": None, "c": 0.5},
            "precision": {"a": 0.6, "b": None, "c": None},
            "confusion": [[3, 0, 1], [0, 0, 0], [1, 0, 1]],
        }
    )
    assert lines[0] == "c: IoU 0.2500; 50% of its pixels are found, 50% are predicted as a."
    assert "of the wrong pixels are within 2 pixels of a boundary, where " in lines[1]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 12000, [0, 2000, 4000, 6000, 8000, 10000, 12000]),
        (3, 3, [2.6, 2.8, 3, 3.2, 3.4]),
    ],
)
def test_ticks_are_round_values_within_the_range(low: float, high: float, ticks: list[float]) -> None:
    axis = Axis([low, high], 10, 110)
    assert axis.ticks() == pytest.approx(ticks)
    assert (axis.at(axis.low), axis.at(axis.high)) == (10, 110)


def test_charts_hold_every_point_and_cell(figures: dict[str, Any]) -> None:
    chart = line_chart("T", [Line("a", [(0, 0.0), (10, 1.0)]), Line("b", [(5, 0.5)])], "step")
    points = re.findall(r'points="([^"]+)"', chart)
    assert [len(one.split()) for one in points] == [2, 1]
    x, y = zip(*(map(float, point.split(",")) for point in [*points[0].split(), *points[1].split()]), strict=True)
    assert x[2] == pytest.approx((x[0] + x[1]) / 2, abs=0.1)
    assert y[2] == pytest.approx((y[0] + y[1]) / 2, abs=0.1)
    assert y[0] > y[1]  # larger values are higher
    hints = re.findall("<title>(.*?)</title>", confusion_chart(["a", "b"], [[3, 1], [0, 0]]))
    assert hints == ["a predicted as a: 75.00%, 3 pixels", "a predicted as b: 25.00%, 1 pixels"]
    used = [row for row in figures["reliability"] if row["share"]]
    assert reliability_chart(figures["reliability"]).count("<title>") == len(used)
    assert standalone(chart).startswith('<svg viewBox="0 0 400 282"')

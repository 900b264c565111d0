"""The drill: a run that is interrupted and damaged at random moments must equal an uninterrupted run bit for bit.

    python tests/drill.py [--faults 26] [--seed 0]

While the uninterrupted run trains it is evaluated: each score must be that of the step that is named. Two processes
with one process id write into one folder: each overlay must show its own image. At the end the checkpoints are deleted:
the run must not start over. A run of two workers, each killed once, must equal one that was not, and the worker that is
left must end by itself. Prints one line per fault and a summary; an assertion fails, or the exit status is 1, if a bit
or a status is not as promised.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[1]
SETTINGS = (
    "data.synthetic_frames=[8,4,1]",
    "data.synthetic_size=[32,64]",
    "augment.crop_size=[32,64]",
    "progressive.share=0.5",
    "progressive.crop_size=[32,32]",
    "progressive.batch_size=6",
    "model.width=0.0625",
    "model.dropout=0.5",
    "train.precision=bfloat16",
    "train.ema_decay=0.99",
    "train.statistics_frames=4",
    "train.class_weights=median_frequency",
    "train.steps=1000",
    "train.log_steps=5",
    "train.evaluate_steps=25",
    "train.checkpoint_steps=10",
    "train.keep_checkpoints=3",
)
WORKERS = ("train.steps=80", "train.intra_op_threads=1", "train.log_steps=1", "train.checkpoint_steps=20")
FAULTS = (  # in this order, again and again
    *("kill", "kill early", "terminate", "flip", "kill in a save"),
    *("full disk", "interrupt", "truncate", "kill in an evaluation", "empty"),
    *("kill at a rename", "pause", "kill at a rename"),
)
KILLED_AT_RENAME = """\
import os, signal, sys
from pathlib import Path
from fcn.commands import main

left = int(sys.argv.pop(1))

def killing(move):
    def moved(path, target):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return move(path, target)
    return moved

Path.replace = killing(Path.replace)
Path.rename = killing(Path.rename)
main("train")
"""
RENAMES = 12  # of a resume up to its second checkpoint, at least
INFER_AS_7 = "import os; os.getpid = lambda: 7; from fcn.commands import main; main('infer')"
STATUS = {  # of an interrupted process, if not that of SIGKILL; SIGTERM before the first step needs nothing saved
    "terminate": {143, -signal.SIGTERM},
    "pause": {143},
    "interrupt": {130},
    "full disk": {3},
}
RECORDS = ("metrics.jsonl", "best.json", "best.weights.h5")


def start(
    folder: Path,
    largest: int = resource.RLIM_INFINITY,
    begin: tuple[object, ...] = (ROOT / "scripts/train.py",),
    more: tuple[str, ...] = (),
    tf_config: str = "",
) -> subprocess.Popen[bytes]:
    """Starts or resumes the run, which may write files of up to `largest` bytes; status 0 when it is over.

    `more` are settings; `tf_config` says which of several workers the process is.
    """

    def limit() -> None:  # Python ignores the signal that comes with it: writing more is an error, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    settings = [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]
    command = [sys.executable, *map(str, begin), "--run-dir", folder, "--resume", *settings]
    environment = {**os.environ, "TF_CONFIG": tf_config}
    with log_of(folder).open("ab") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, preexec_fn=limit, env=environment)


def log_of(folder: Path) -> Path:
    """What the processes of a run printed on stderr."""
    return folder.with_suffix(".log")


def interrupt(folder: Path, fault: str, seconds: float, chance: random.Random) -> int:
    """Resumes the run and interrupts it within `seconds` of training; returns the exit status, 0 if it was over."""
    if fault == "full disk":
        largest = max(path.stat().st_size for path in [ROOT / "README.md", log_of(folder), *folder.rglob("*")])
        return start(folder, int(largest ** chance.uniform(0.7, 0.9))).wait()
    if fault == "kill at a rename":
        return start(folder, begin=("-c", KILLED_AT_RENAME, chance.randint(1, RENAMES))).wait()
    process = start(folder)
    if fault == "kill early":
        time.sleep(chance.uniform(0, 8))  # while TensorFlow loads, the network is built, a checkpoint restored
    else:
        wait_until(process, grows(folder / "metrics.jsonl"))
        time.sleep(chance.uniform(0, seconds))
    if fault == "kill in a save":
        wait_until(process, lambda: any(folder.glob("checkpoints/.part-*")))
    if fault == "kill in an evaluation":
        wait_until(process, lambda: is_evaluating(folder))
    if fault == "pause":
        process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
    process.send_signal(
        {"terminate": signal.SIGTERM, "pause": signal.SIGTERM, "interrupt": signal.SIGINT}.get(fault, signal.SIGKILL)
    )
    return process.wait()


def wait_until(process: subprocess.Popen[bytes], condition: Callable[[], Any]) -> None:
    """Until the condition holds, or the process has ended."""
    while process.poll() is None and not condition():
        time.sleep(0.001)


def grows(file: Path) -> Callable[[], bool]:
    """A condition: the file is larger than when last looked at. A resumed run first cuts its rows off."""
    size = 2**63

    def larger() -> bool:
        nonlocal size
        before = size
        size = file.stat().st_size if file.is_file() else 0
        return size > before

    return larger


def is_evaluating(folder: Path) -> bool:
    """Whether the last complete row of metrics.jsonl is that of a training step that is evaluated next."""
    file = folder / "metrics.jsonl"
    lines = file.read_bytes().splitlines(keepends=True) if file.is_file() else []
    if not lines or not lines[-1].endswith(b"\n"):
        return False
    row = json.loads(lines[-1])
    return "loss" in row and row["step"] % 25 == 0


def fingerprint(folder: Path) -> str:
    """SHA-256 over the last checkpoint's tensors, the best weights and the rows without what depends on the clock."""
    newest = max(folder.glob("checkpoints/step-*"))
    files = json.loads((newest / "manifest.json").read_text())["files"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timeless = [{k: v for k, v in row.items() if not k.endswith(("_seconds", "_per_second"))} for row in rows]
    best = json.loads((folder / "best.json").read_text())  # with the SHA-256 of the weights
    tensors = [value["sha256"] for name, value in files.items() if ".data-" in name]
    return hashlib.sha256(json.dumps([newest.name, tensors, timeless, best]).encode()).hexdigest()


def damage(folder: Path, fault: str, chance: random.Random) -> list[str]:
    """Damages the rows or best weights, and a file in one or two of the newest checkpoints of three; returns which."""
    victims = [folder / chance.choice(RECORDS)]
    for checkpoint in sorted(folder.glob("checkpoints/step-*"))[1:][-chance.randint(1, 2) :]:
        victims.append(chance.choice(sorted(checkpoint.iterdir())))
    for victim in victims:
        data = bytearray(victim.read_bytes()) if victim.is_file() else bytearray(b"?")
        if fault == "flip":
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        victim.write_bytes({"flip": data, "truncate": data[: len(data) // 2], "empty": b""}[fault])
    return [str(victim.relative_to(folder)) for victim in victims]


def run_script(name: str, *words: object, begin: tuple[object, ...] | None = None) -> subprocess.Popen[str]:
    """Starts a command."""
    command = [sys.executable, *map(str, begin or (ROOT / f"scripts/{name}.py",)), *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def use_while_training(folder: Path, process: subprocess.Popen[bytes]) -> int:
    """Evaluates and infers until the run is over; the number of scores that were those of the step that was named."""
    score_file = folder.with_suffix(".json")
    right = 0
    wait_until(process, (folder / "best.json").is_file)
    while process.poll() is None:
        evaluation = run_script("evaluate", "--run", folder, "--json", score_file)
        inference = run_script("infer", "--run", folder, "--out", folder.with_suffix(".out"))
        text, error = evaluation.communicate()
        assert evaluation.returncode == 0, error
        assert inference.communicate()[1] == ""
        step = int(text.partition("(step ")[2].partition(")")[0])
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        (named,) = (row["miou"] for row in rows if row["step"] == step and "miou" in row)
        score = json.loads(score_file.read_text())["miou"]
        assert abs(score - named) < 1e-6, f"step {step} has {named}, and {score} was printed"
        right += 1
    return right


def race(folder: Path) -> int:
    """Two processes with one process id segment different images into one folder; returns the number of overlays."""
    for name, color in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        (folder / name).mkdir(parents=True)
        for number in range(150):
            Image.new("RGB", (64, 48), color).save(folder / name / f"{name}{number}.png")
    options = ("--out", folder / "out", "--alpha", "0")
    both = [run_script("infer", folder / name, *options, begin=("-c", INFER_AS_7)) for name in ("red", "blue")]
    assert [process.communicate()[1] for process in both] == ["", ""]
    overlays = list((folder / "out").glob("*_overlay.png"))
    for overlay in overlays:
        red, _, blue = Image.open(overlay).convert("RGB").getpixel((0, 0))
        assert (red > blue) == overlay.name.startswith("red"), f"{overlay.name} shows the other process's image"
    return len(overlays)


def start_workers(folder: Path) -> list[subprocess.Popen[bytes]]:
    """Starts or resumes a short run of two workers on this machine; the first is the chief."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    cluster = {"worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]}
    for one in sockets:
        one.close()
    configs = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(2)]
    return [start(folder, more=WORKERS, tf_config=config) for config in configs]


def drill_workers(place: Path, chance: random.Random) -> None:
    """Kills the second worker, then the chief: the other must end with status 3, the resumed run with the same bits."""
    straight, drilled = place / "workers", place / "drilled-workers"
    assert [process.wait() for process in start_workers(straight)] == [0, 0]
    for victim in (1, 0):
        processes = start_workers(drilled)
        grown = grows(drilled / "metrics.jsonl")
        for _ in range(chance.randint(2, 4)):
            wait_until(processes[0], grown)
        assert start(drilled, more=WORKERS).wait() == 2, "a second process wrote into the run"
        processes[victim].kill()
        killed = time.perf_counter()
        status = processes[1 - victim].wait(timeout=60)
        seconds = time.perf_counter() - killed
        assert status == 3, f"worker {1 - victim}: status {status}"
        if victim == 1:  # the chief saves its last step
            last = json.loads((drilled / "metrics.jsonl").read_text().splitlines()[-1])["step"]
            newest = max((drilled / "checkpoints").iterdir()).name
            assert int(newest.split("-")[1]) >= last, f"{newest} is the last one, after step {last}"
        print(f"worker {victim} of 2 killed: the other ended {seconds:.1f} s later", flush=True)
    assert [process.wait() for process in start_workers(drilled)] == [0, 0]
    assert fingerprint(straight) == fingerprint(drilled), "the run of two workers differs"
    print("the run of two workers, each killed once, is bit-identical to the uninterrupted run", flush=True)


def main() -> int:
    """Runs the drill."""
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("--faults", type=int, default=26, help="number of interruptions; 26")
    command.add_argument("--seed", type=int, default=0, help="seed of the moments and the damage; 0")
    arguments = command.parse_args()
    chance = random.Random(arguments.seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as place:
        drill_workers(Path(place), chance)
        uninterrupted, drilled = Path(place, "uninterrupted"), Path(place, "drilled")
        process = start(uninterrupted)
        scores = use_while_training(uninterrupted, process)
        assert process.wait() == 0
        assert scores > 0
        print(f"{scores} scores of the run in training are those of the steps that were named", flush=True)
        print(
            f"{race(Path(place, 'race'))} overlays of two processes with one process id show their images", flush=True
        )
        rows = [json.loads(line) for line in (uninterrupted / "metrics.jsonl").read_text().splitlines()]
        share = rows[-1]["run_seconds"] / 2 / arguments.faults  # seconds of training for each fault, alone
        damaged = 0
        for number in range(arguments.faults):
            fault = FAULTS[number % len(FAULTS)]
            status = interrupt(drilled, fault, share, chance)
            assert status in STATUS.get(fault, {-signal.SIGKILL}), f"{fault}: status {status}"
            victims = damage(drilled, fault, chance) if fault in ("flip", "truncate", "empty") else []
            damaged += len(victims[1:])
            newest = max((path.name for path in drilled.glob("checkpoints/step-*")), default="none")
            print(f"{number + 1}: {fault} {', '.join(victims)}; newest {newest}", flush=True)
        assert start(drilled).wait() == 0
        set_aside = log_of(drilled).read_text(errors="replace").count("; set aside as bad-step-")
        assert set_aside == damaged, f"{damaged} checkpoints were damaged, {set_aside} set aside"
        same = fingerprint(uninterrupted) == fingerprint(drilled)
        for gone in ("checkpoints", "metrics.jsonl"):
            (drilled / gone).rename(drilled.with_suffix(f".{gone}"))
        assert start(drilled).wait() == 3, "a run without checkpoints and rows started over"
    end = "is bit-identical to" if same else "DIFFERS from"
    print(f"{arguments.faults} faults, {damaged} checkpoints damaged: the run {end} the uninterrupted run")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())

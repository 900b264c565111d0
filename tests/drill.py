"""The drill: a run that is interrupted and damaged at random moments must equal an uninterrupted run bit for bit.

    python tests/drill.py [--faults 20] [--seed 0]

Prints one line per fault and a summary; exit status 1 if a bit or an exit status is not as promised.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
FAULTS = (  # in this order, again and again
    *("kill", "kill early", "terminate", "flip", "kill in a save"),
    *("full disk", "interrupt", "truncate", "kill in an evaluation", "empty"),
)
STATUS = {  # of an interrupted process, if not that of SIGKILL; SIGTERM before the first step needs nothing saved
    "terminate": {143, -signal.SIGTERM},
    "interrupt": {130},
    "full disk": {3},
}
RECORDS = ("metrics.jsonl", "best.json", "best.weights.h5")


def start(folder: Path, largest: int = resource.RLIM_INFINITY) -> subprocess.Popen[bytes]:
    """Starts or resumes the run, which may write files of up to `largest` bytes; status 0 when it is over."""

    def limit() -> None:  # Python ignores the signal that comes with it: writing more is an error, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    command = [sys.executable, ROOT / "scripts/train.py", "--run-dir", folder, "--resume", *settings]
    with log_of(folder).open("ab") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, preexec_fn=limit)


def log_of(folder: Path) -> Path:
    """What the processes of a run printed on stderr."""
    return folder.with_suffix(".log")


def interrupt(folder: Path, fault: str, seconds: float, chance: random.Random) -> int:
    """Resumes the run and interrupts it within `seconds` of training; returns the exit status, 0 if it was over."""
    if fault == "full disk":
        largest = max(path.stat().st_size for path in [ROOT / "README.md", log_of(folder), *folder.rglob("*")])
        return start(folder, int(largest ** chance.uniform(0.7, 0.9))).wait()
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
    process.send_signal({"terminate": signal.SIGTERM, "interrupt": signal.SIGINT}.get(fault, signal.SIGKILL))
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


def main() -> int:
    """Runs the drill."""
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("--faults", type=int, default=20, help="number of interruptions; 20")
    command.add_argument("--seed", type=int, default=0, help="seed of the moments and the damage; 0")
    arguments = command.parse_args()
    chance = random.Random(arguments.seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as place:
        uninterrupted, drilled = Path(place, "uninterrupted"), Path(place, "drilled")
        process = start(uninterrupted)
        wait_until(process, grows(uninterrupted / "metrics.jsonl"))
        began = time.monotonic()
        assert process.wait() == 0
        share = (time.monotonic() - began) / arguments.faults  # seconds of training for each fault
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
    end = "is bit-identical to" if same else "DIFFERS from"
    print(f"{arguments.faults} faults, {damaged} checkpoints damaged: the run {end} the uninterrupted run")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())

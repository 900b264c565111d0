"""The drill: a run that is broken off and damaged at random moments must end with the straight run's bits.

    python tests/drill.py [--faults 20] [--seed 0]

Prints a line a fault and a closing line with the count; exit status 1 where a bit or an exit status is not as promised.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETTINGS = (
    "data.synthetic_frames=[8,4,1]",
    "data.synthetic_size=[32,64]",
    "augment.crop_size=[32,64]",
    "model.width=0.0625",
    "model.dropout=0.5",
    "train.steps=1000",
    "train.log_steps=10",
    "train.evaluate_steps=25",
    "train.checkpoint_steps=10",
)
FAULTS = (
    "kill",
    "kill early",
    "terminate",
    "flip",
    "full disk",
    "kill",
    "interrupt",
    "truncate",
    "kill",
    "empty",
)  # by turns
STATUS = {  # of a process that was broken off; SIGTERM that comes before the first step needs nothing saved
    "terminate": {143, -signal.SIGTERM},
    "interrupt": {130},
    "full disk": {3},
}


def start(folder: Path, largest: int = resource.RLIM_INFINITY) -> subprocess.Popen[bytes]:
    """Starts or continues the run, which may write files of up to `largest` bytes; status 0 when it is over."""

    def limit() -> None:  # Python ignores the signal that comes with it: writing more is an error, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    command = [sys.executable, ROOT / "scripts/train.py", "--run-dir", folder, "--resume", *settings]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=limit)


def break_off(folder: Path, fault: str, seconds: float, chance: random.Random) -> int:
    """Continues the run and breaks it off within `seconds` of training; returns the exit status, 0 if it was over."""
    if fault == "full disk":
        largest = max(path.stat().st_size for path in [ROOT / "README.md", *folder.rglob("*")])
        return start(folder, int(largest ** chance.uniform(0.4, 0.9))).wait()
    process = start(folder)
    if fault == "kill early":
        time.sleep(chance.uniform(0, 8))  # while TensorFlow loads, the network is built, a checkpoint restored
    else:
        wait_for_a_row(folder, process)
        time.sleep(chance.uniform(0, seconds))
    process.send_signal({"terminate": signal.SIGTERM, "interrupt": signal.SIGINT}.get(fault, signal.SIGKILL))
    return process.wait()


def wait_for_a_row(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Until the process has written a row of metrics.jsonl, or has ended."""
    rows = folder / "metrics.jsonl"
    size = rows.stat().st_size if rows.is_file() else 0
    while process.poll() is None:
        before, size = size, rows.stat().st_size if rows.is_file() else 0
        if size > before:  # a resumed run first cuts rows off
            return
        time.sleep(0.02)


def fingerprint(folder: Path) -> str:
    """SHA-256 over the last checkpoint's tensors, the best weights and the rows without what depends on the clock."""
    newest = max(folder.glob("checkpoints/step-*"))
    files = json.loads((newest / "manifest.json").read_text())["files"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timeless = [{k: v for k, v in row.items() if not k.endswith(("_seconds", "_per_second"))} for row in rows]
    best = json.loads((folder / "best.json").read_text())
    tensors = [value["sha256"] for name, value in files.items() if ".data-" in name]
    return hashlib.sha256(json.dumps([newest.name, tensors, timeless, best]).encode()).hexdigest()


def damage(folder: Path, fault: str, chance: random.Random) -> str:
    """Spoils a file of the newest checkpoint; returns which. At least one older checkpoint stays whole."""
    whole = sorted(folder.glob("checkpoints/step-*"))
    if len(whole) < 2:
        return "nothing to damage yet"
    victim = chance.choice(sorted(file for file in whole[-1].iterdir()))
    data = bytearray(victim.read_bytes())
    if fault == "flip":
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    victim.write_bytes({"flip": data, "truncate": data[: len(data) // 2], "empty": b""}[fault])
    return f"{fault} {victim.parent.name}/{victim.name}"


def main() -> int:
    """Runs the drill."""
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("--faults", type=int, default=20, help="moments at which the run is broken off; 20")
    command.add_argument("--seed", type=int, default=0, help="of the moments and the damage; 0")
    arguments = command.parse_args()
    chance = random.Random(arguments.seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as place:
        straight, drilled = Path(place, "straight"), Path(place, "drilled")
        process = start(straight)
        wait_for_a_row(straight, process)
        began = time.monotonic()
        assert process.wait() == 0
        share = (time.monotonic() - began) / arguments.faults  # seconds of training to each fault
        done = 0
        while done < arguments.faults:
            fault = FAULTS[done % len(FAULTS)]
            status = break_off(drilled, fault, share, chance)
            if status == 0:
                break  # over before the fault
            assert status in STATUS.get(fault, {-signal.SIGKILL}), f"{fault}: status {status}"
            done += 1
            what = damage(drilled, fault, chance) if fault in ("flip", "truncate", "empty") else fault
            steps = [path.name for path in sorted(drilled.glob("checkpoints/step-*"))]
            print(f"{done}: {what}; checkpoints {', '.join(steps) or 'none'}", flush=True)
        assert start(drilled).wait() == 0
        same = fingerprint(straight) == fingerprint(drilled)
        print(f"{done} faults: the run ended {'with the bits of' if same else 'OTHERWISE than'} the straight run")
        return 0 if same else 1


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())

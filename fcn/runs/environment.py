"""What the bits of a run depend on beside its config: versions, processor, threads, data, code."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("tensorflow", "keras", "numpy", "pillow")
SWITCHES = ("TF_", "XLA_", "ONEDNN_", "DNNL_", "MKL_", "OMP_")  # begin the names of variables that choose kernels
PACKAGE = Path(__file__).parents[1]
CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
NOT_COMPARED = {"cores", "system", "commit"}  # told, and without effect on the bits


def describe_environment(devices: Sequence[str], threads: Sequence[int], data_fingerprint: str) -> dict[str, Any]:
    """What the bits of a run depend on beside its config.

    Args:
        devices: names of those that TensorFlow sees.
        threads: inside an op and between ops, as TensorFlow has them; 0 is its own choice.
        data_fingerprint: of the frames, as `datasets.open_for_training` gives it.
    """
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        "processor": _processor(),
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": list(threads),
        "devices": list(devices),
        "data_fingerprint": data_fingerprint,
        "switches": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(SWITCHES)},
        "code": _code(),
        "commit": _commit(),
    }


def changed_environment(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names of what a straight run would have had the same of."""
    return [name for name in now if name not in NOT_COMPARED and before.get(name) != now[name]]


def processor_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 numbers itself; else they only cost time."""
    flags = f"{_cpuinfo('flags')} {_cpuinfo('Features')}".split()  # as x86 and as ARM call them
    return not BFLOAT16_FLAGS.isdisjoint(flags)


def _processor() -> str:
    """Model name of the processor; oneDNN chooses its kernels, and so the last bits, by it."""
    return _cpuinfo("model name") or platform.machine()


def _cpuinfo(name: str) -> str:
    """The first line of that name in what the kernel says of the processor; empty where there is none."""
    lines = CPUINFO.read_text(encoding="utf-8").splitlines() if CPUINFO.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition("\t")[0] == name), "")


def _code() -> str:
    """Hexadecimal SHA-256 over the modules of fcn."""
    digest = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _commit() -> str | None:
    """Commit of the checkout that this file lies in, None outside of one."""
    git = ("git", "rev-parse", "HEAD")
    try:
        done = subprocess.run(git, cwd=PACKAGE, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()

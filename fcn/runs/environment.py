"""What the bits of a run depend on besides its config: versions, processor, threads, data, code."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
PACKAGES = ("tensorflow", "keras", "numpy", "pillow")
CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
NOT_COMPARED = {"cores", "system", "commit"}  # recorded, without effect on the bits

SWITCHES = (
    "DNNL_MAX_CPU_ISA",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "TF_CUDNN_DETERMINISTIC",
    "TF_CUDNN_USE_AUTOTUNE",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_AUTO_MIXED_PRECISION",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
"""Environment variables that choose kernels. Only these names are recorded: others may hold passwords or paths."""


def describe_environment(
    devices: Sequence[str], threads: Sequence[int], replicas: int, data_fingerprint: str
) -> dict[str, Any]:
    """What the bits of a run depend on besides its config.

    Given are the names of TensorFlow's devices, its threads within and between ops, the number of devices that share a
    batch, and the fingerprint of the frames.
    """
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        "processor": processor_name(),  # oneDNN chooses its kernels by it
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": list(threads),
        "devices": list(devices),
        "replicas": replicas,
        "data_fingerprint": data_fingerprint,
        "switches": {name: _without_paths(os.environ[name]) for name in SWITCHES if name in os.environ},
        "code": code_digest(PACKAGE.rglob("*.py")),
        "commit": _commit(),
    }


def changed_environment(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Name -> [before, now] of the entries that differ and that the bits depend on."""
    switches = before.get("switches", {})
    # version 0.1 recorded variables without effect too, and trained on one device
    before = {"replicas": 1, **before, "switches": {name: switches[name] for name in SWITCHES if name in switches}}
    names = [name for name in now if name not in NOT_COMPARED and before.get(name) != now[name]]
    return {name: [before.get(name), now[name]] for name in names}


def processor_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 numbers in hardware; without that they only cost time."""
    return not BFLOAT16_FLAGS.isdisjoint(processor_flags())


def processor_flags() -> set[str]:
    """Names of the processor's abilities, as the kernel has them."""
    return set(f"{_cpuinfo('flags')} {_cpuinfo('Features')}".split())  # on x86 and on ARM


def processor_name() -> str:
    """The processor's model, else its architecture."""
    return _cpuinfo("model name") or platform.machine()


def _cpuinfo(name: str) -> str:
    """The first line of this name in the kernel's description of the processor; empty if there is none."""
    lines = CPUINFO.read_text(encoding="utf-8").splitlines() if CPUINFO.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition("\t")[0] == name), "")


def _without_paths(value: str) -> str:
    """The value, or its digest if it may hold a path, as XLA_FLAGS=--xla_dump_to=DIR does."""
    return hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest() if "/" in value else value


def code_digest(modules: Iterable[Path]) -> str:
    """Hexadecimal SHA-256 over some modules."""
    digest = hashlib.sha256()
    for file in sorted(modules):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _commit() -> str | None:
    """Commit of the checkout of fcn that this file is in; None elsewhere, also in a checkout of another project."""
    git = ("git", "rev-parse", "--show-toplevel", "HEAD")
    try:
        done = subprocess.run(git, cwd=PACKAGE, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    top, commit = done.stdout.splitlines()
    return commit if Path(top) == PACKAGE.parent else None

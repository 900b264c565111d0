"""The processes that train one network together: which ones TF_CONFIG or SLURM name, and how they meet."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from dataclasses import dataclass

from fcn.errors import RunStoppedError, UserError
from fcn.runs.log import INVALID_JSON

JOBS = ("chief", "worker")  # of a cluster in TF_CONFIG, in the order in which TensorFlow counts its tasks
EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'

WAIT_MINUTES = 15.0  # for the other workers, which check their frames first
MAX_LINE = 1000  # bytes of what a worker sends


@dataclass(frozen=True)
class Worker:
    """A process that trains, alone or with others. The chief, the one of index 0, writes all files of the run."""

    index: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether it writes the run."""
        return self.index == 0

    def share(self, batch_size: int) -> range:
        """Its slots among those of a step, as even as `batch_size` allows."""
        return range(batch_size * self.index // self.count, batch_size * (self.index + 1) // self.count)


ALONE = Worker()


def find_worker(strategy: str) -> Worker:
    """This process among those of the training, for a value of `train.strategy`.

    Raises UserError if TF_CONFIG is malformed, there is only one process where the strategy needs several, or SLURM's
    machine has neither `nvidia-smi` nor CUDA_VISIBLE_DEVICES.
    """
    if strategy in ("one", "mirrored"):
        return ALONE
    text = os.environ.get("TF_CONFIG", "")
    worker = _of_tf_config(text) if text else ALONE
    if not text and int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        if shutil.which("nvidia-smi") is None and "CUDA_VISIBLE_DEVICES" not in os.environ:
            raise UserError("SLURM: TensorFlow looks for NVIDIA GPUs and finds none; set TF_CONFIG for each process")
        worker = Worker(int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_STEP_NUM_TASKS"]))
    if strategy == "multi_worker" and worker.count == 1:
        raise UserError(
            "train.strategy: multi_worker needs several processes; start each with its TF_CONFIG, or all with srun"
        )
    return worker


def _of_tf_config(text: str) -> Worker:
    try:
        config = json.loads(text)
        cluster = config.get("cluster", {})
        sizes = {job: len(cluster[job]) for job in JOBS if job in cluster}
        if not sizes:
            return ALONE  # TF_CONFIG describes a training on one machine, too
        job = config["task"]["type"]
        index = int(config["task"]["index"])
        if index not in range(sizes[job]):
            raise ValueError(index)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"TF_CONFIG: is not valid ({error!r}); set it like {EXAMPLE}") from error
    before = sizes.get("chief", 0) if job == "worker" else 0
    return Worker(before + index, sum(sizes.values()))


def meet(
    worker: Worker, address: str, settings: str, checkpoint: str | None, minutes: float = WAIT_MINUTES
) -> str | None:
    """Waits until all workers are at the chief's address HOST:PORT, and returns the chief's checkpoint.

    TensorFlow itself would wait for hours, and could not be interrupted. Each worker sends its settings, and the chief
    answers with the name of the checkpoint that all continue from, or None.

    Raises:
        UserError: A worker has other settings than the chief, or the address cannot be used.
        RunStoppedError: Not all have come within `minutes`.
    """
    host, _, port = address.rpartition(":")
    end = time.monotonic() + 60 * minutes
    try:
        if worker.is_chief:
            return _receive_workers(worker.count, int(port), settings, checkpoint, end)
        return _ask_chief(worker.index, (host, int(port)), settings, end)
    except TimeoutError as error:
        line = f"not all of the {worker.count} workers have come to {address} within {minutes:g} minutes"
        raise RunStoppedError(f"{line}; see what the others printed, and start all of them again") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{address}: the chief's address cannot be used: {error}; set it in TF_CONFIG") from error


def _receive_workers(count: int, port: int, settings: str, checkpoint: str | None, end: float) -> str | None:
    others: dict[int, tuple[socket.socket, str]] = {}
    with socket.create_server(("", port)) as server:
        while len(others) < count - 1:
            server.settimeout(max(0.001, end - time.monotonic()))
            connection, _ = server.accept()
            connection.settimeout(10)
            try:
                index, theirs = json.loads(connection.makefile("rb").readline(MAX_LINE))
                if index not in range(1, count):
                    raise ValueError(index)
                others[index] = connection, theirs
            except (OSError, *INVALID_JSON):  # not one of ours, or one that has ended
                connection.close()
    different = [index for index, (_, theirs) in others.items() if theirs != settings]
    refused = None
    if different:
        refused = f"worker {min(different)}: has other settings or frames than the chief; start all with the same"
    lost = []
    for index, (connection, _) in others.items():
        try:
            connection.sendall(json.dumps([refused, checkpoint]).encode() + b"\n")
        except OSError:
            lost.append(index)
        connection.close()
    if refused:
        raise UserError(refused)
    if lost:
        raise RunStoppedError(f"worker {min(lost)}: has ended before the first step; start all of them again")
    return checkpoint


def _ask_chief(index: int, address: tuple[str, int], settings: str, end: float) -> str | None:
    while True:
        if time.monotonic() > end:
            raise TimeoutError
        try:
            with socket.create_connection(address, timeout=10) as connection:
                connection.settimeout(max(0.001, end - time.monotonic()))
                connection.sendall(json.dumps([index, settings]).encode() + b"\n")
                answer = connection.makefile("rb").readline(MAX_LINE)
            refused, checkpoint = json.loads(answer)
            break
        except (OSError, *INVALID_JSON):  # the chief, or its name, is not there yet, or it has ended
            time.sleep(0.2)
    if refused:
        raise UserError(refused)
    return None if checkpoint is None else str(checkpoint)

"""The processes that train one network together, as TF_CONFIG or SLURM describe them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from fcn.errors import UserError

JOBS = ("chief", "worker")  # of a cluster in TF_CONFIG, in the order in which TensorFlow counts its tasks
EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


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

    Raises UserError if TF_CONFIG is malformed, or there is only one process where the strategy needs several.
    """
    if strategy in ("one", "mirrored"):
        return ALONE
    text = os.environ.get("TF_CONFIG", "")
    worker = _of_tf_config(text) if text else ALONE
    if not text and int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
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

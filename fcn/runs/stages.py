"""Training in stages: one run for each output stride, each from the best weights of the one before."""

from __future__ import annotations

from dataclasses import replace

from fcn.config.settings import Config, StagesConfig
from fcn.runs.paths import RunPaths


def stages_of(config: Config, paths: RunPaths) -> list[tuple[Config, RunPaths]]:
    """Config and folder of each run in order: DIR-32s, DIR-16s and so on; of one run in DIR where there are no stages.

    The fused scores of a stage are at first exactly the upsampled scores of the one before: a new scorer is 0.
    """
    strides = config.stages.strides
    if not strides:
        return [(config, paths)]
    runs: list[tuple[Config, RunPaths]] = []
    for number, stride in enumerate(strides):
        model = replace(config.model, stride=stride)
        if runs:
            _, last = runs[-1]
            model = replace(model, initial_weights=str(last.directory))
        recipe = config.train
        if config.stages.learning_rates:
            recipe = replace(recipe, learning_rate=config.stages.learning_rates[number])
        directory = paths.directory.with_name(f"{paths.directory.name}-{stride}s")
        runs.append((replace(config, model=model, train=recipe, stages=StagesConfig()), RunPaths(directory)))
    return runs

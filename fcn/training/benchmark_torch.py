"""The network of `build_fcn` in PyTorch, and what its process does in `fcn benchmark --train --against torch`.

PyTorch as one would use it on a processor: eager, channels_last, its fused AdamW, autocast for bfloat16.
"""

# Shapes: N images, H x W pixels, C classes, h x w a feature map, c its channels
from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from fcn.config.settings import ModelConfig, TrainConfig
from fcn.images import IGNORE, Array
from fcn.model.architecture import (
    PREPROCESSING,
    STATISTICS_MOMENTUM,
    UPSAMPLING_TO_BLOCK,
    UPSAMPLING_TO_IMAGE,
    encoder_blocks,
    skip_blocks,
)
from fcn.training.benchmark import PEAK_SIDE, Call, Side, layer_groups

EPSILON = 1e-3  # of Keras' batch normalization
ADAM_EPSILON = 1e-7  # Keras'
NAMES = {  # weight in Keras -> in PyTorch
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


class TorchFcn(nn.Module):
    """The same layers under the same names."""

    def __init__(self, config: ModelConfig, classes: int):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleDict()
        mean, std = PREPROCESSING[config.preprocessing]
        self.scale = 1 / std
        self.shift = nn.Buffer(-torch.as_tensor(mean, dtype=torch.float32).reshape(-1, 1, 1) / std, persistent=False)
        channels = 3
        scored = {}  # block -> channels of its last map
        for block, (repeats, filters) in enumerate(encoder_blocks(config), start=1):
            for i in range(1, repeats + 1):
                self.add_convolution(f"block{block}_conv{i}", channels, filters, window=3)
                channels = filters
            scored[block] = filters
        self.add_convolution("fc6", channels, config.head_units, window=config.head_window)
        self.add_convolution("fc7", config.head_units, config.head_units, window=1)
        self.layers["score_fr"] = nn.Conv2d(config.head_units, classes, 1)
        for block in skip_blocks(config.stride):
            channels = scored[block if config.skips == "after_pooling" else block + 1]
            self.layers[f"score_pool{block}"] = nn.Conv2d(channels, classes, 1)
            self.add_upsampling(UPSAMPLING_TO_BLOCK[block], classes, 2, learned=config.learn_upsampling)
        last = UPSAMPLING_TO_IMAGE[config.stride]
        self.add_upsampling(last, classes, config.stride, learned=config.learn_last_upsampling)

    def add_convolution(self, name: str, channels: int, units: int, window: int) -> None:
        """A SAME convolution and, where that is on, its batch normalization."""
        batch_norm = self.config.batch_norm
        self.layers[name] = nn.Conv2d(channels, units, window, padding=window // 2, bias=not batch_norm)
        if batch_norm:
            self.layers[f"{name}_norm"] = nn.BatchNorm2d(units, EPSILON, momentum=1 - STATISTICS_MOMENTUM)

    def add_upsampling(self, name: str, classes: int, factor: int, learned: bool) -> None:
        """The transposed convolution of `fcn.model.fcn.upsample`."""
        layer = nn.ConvTranspose2d(classes, classes, 2 * factor, stride=factor, padding=factor // 2, bias=False)
        self.layers[name] = layer.requires_grad_(learned)

    def forward(self, images: Tensor, last: str | None = None) -> Tensor:
        """uint8 (N, H, W, 3) -> logits float32 (N, C, H, W), or the output of the layer `last`."""
        config = self.config
        x = images.permute(0, 3, 1, 2).float() * self.scale + self.shift  # N, 3, H, W in memory as N, H, W, 3
        before = {}
        after = {}
        for block, (repeats, _) in enumerate(encoder_blocks(config), start=1):
            for i in range(1, repeats + 1):
                x = self.convolve(f"block{block}_conv{i}", x)
            before[block] = x
            x = functional.max_pool2d(x, 2, ceil_mode=True)
            after[block] = x
            if last == f"block{block}_pool":
                return x
        for name in ("fc6", "fc7"):
            x = functional.dropout(self.convolve(name, x), config.dropout, self.training)
        if last == "fc7_dropout":
            return x

        scores = self.layers["score_fr"](x)  # N, C, H / 32, W / 32
        for block in skip_blocks(config.stride):
            skip = after[block] if config.skips == "after_pooling" else before[block + 1]
            scores = self.upsample(UPSAMPLING_TO_BLOCK[block], scores, factor=2, size=skip.shape[2:])
            if config.skip_scale != 1.0:
                skip = skip * config.skip_scale ** (5 - block)
            scores = scores + self.layers[f"score_pool{block}"](skip)  # N, C, H / 2^block, W / 2^block
        if last is not None:
            return scores
        last_upsampling = UPSAMPLING_TO_IMAGE[config.stride]
        return self.upsample(last_upsampling, scores, factor=config.stride, size=images.shape[1:3]).float()

    def convolve(self, name: str, x: Tensor) -> Tensor:
        """Convolution, batch normalization, ReLU: (N, c, h, w) -> (N, units, h, w)."""
        x = self.layers[name](x)
        if self.config.batch_norm:
            x = self.layers[f"{name}_norm"](x)
        return functional.relu(x, inplace=True)

    def upsample(self, name: str, scores: Tensor, factor: int, size: tuple[int, int]) -> Tensor:
        """(N, C, h, w) -> (N, C, *size), with the edge cells repeated as in `fcn.model.fcn.upsample`."""
        upsampled = self.layers[name](functional.pad(scores, (1, 1, 1, 1), mode="replicate"))
        return upsampled[:, :, factor : factor + size[0], factor : factor + size[1]]

    def load(self, weights: dict[str, Array]) -> None:
        """Takes the weights of the Keras network: path -> value."""
        state = {}
        for path, value in weights.items():
            layer, _, name = path.rpartition("/")
            if name == "kernel":  # (h, w, in, out); of a transposed convolution (h, w, out, in)
                value = value.transpose(3, 2, 0, 1)
            state[f"layers.{layer}.{NAMES[name]}"] = torch.tensor(value)
        counts = {name: value for name, value in self.state_dict().items() if name.endswith("num_batches_tracked")}
        self.load_state_dict(state | counts)


def calls_of(side: Side) -> dict[str, Call]:
    """Name -> call, of everything that `benchmark_training` asks for."""
    recipe = side.config.train
    precision = side.kind.precision
    torch.manual_seed(recipe.seed)
    images, labels = (torch.from_numpy(one) for one in side.batch())
    class_weights = torch.tensor(side.class_weights())
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")

    def build(config: ModelConfig) -> TorchFcn:
        network = TorchFcn(config, len(class_weights))
        network.load(side.weights)
        return network.to(memory_format=torch.channels_last)

    def loss_of(network: TorchFcn) -> Tensor:
        with autocast:
            logits = network(images)
        return functional.cross_entropy(logits, labels.long(), class_weights, ignore_index=IGNORE)

    def step_of(network: TorchFcn) -> Call:
        trained = [one for one in network.parameters() if one.requires_grad]
        optimizer = torch.optim.AdamW(
            [
                {"params": [one for one in trained if one.dim() == 4], "weight_decay": recipe.weight_decay},
                {"params": [one for one in trained if one.dim() == 1], "weight_decay": 0.0},
            ],
            eps=ADAM_EPSILON,
            fused=True,
        )
        weights = [one.detach() for one in network.state_dict().values() if one.is_floating_point()]
        averages = [one.clone() for one in weights]
        done = 0

        def step() -> float:
            nonlocal done
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, done)
            optimizer.zero_grad()
            loss = loss_of(network)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(trained, recipe.clip_norm or torch.inf, foreach=True)
            if torch.isfinite(loss + norm):
                optimizer.step()
                decay = min(recipe.ema_decay, (1 + done) / (10 + done))
                torch._foreach_lerp_(averages, weights, 1 - decay)
            done += 1
            return loss.item()

        return step

    def check() -> tuple[Array, list[float]]:
        """Logits (1, H, W, C) of the first image, and losses of the first two steps; without dropout."""
        same = build(replace(side.config.model, dropout=0.0))
        same.eval()
        with torch.no_grad(), autocast:
            logits = same(images[:1]).permute(0, 2, 3, 1).numpy()
        same.train()
        step = step_of(same)
        return logits, [step(), step()]

    network = build(side.config.model)

    def until(last: str) -> Call:
        """Forward and backward of the network up to a layer."""

        def gradients() -> None:
            network.zero_grad()
            with autocast:
                network(images, last).sum().backward()

        return gradients

    def loss_gradients() -> None:
        network.zero_grad()
        loss_of(network).backward()

    matrix = torch.randn(PEAK_SIDE, PEAK_SIDE, dtype=getattr(torch, precision))
    calls: dict[str, Call] = {
        "check": check,
        "step": step_of(network),
        "loss": loss_gradients,
        "peak": lambda: torch.mm(matrix, matrix)[0, 0].item(),
    }
    return calls | {last: until(last) for last in layer_groups(side.config.model).values()}


def learning_rate(recipe: TrainConfig, step: int) -> float:
    """The rate of `build_schedule` with poly decay."""
    warmup_steps = round(recipe.steps * recipe.warmup)
    if step < warmup_steps:
        return recipe.learning_rate * (step + 1) / (warmup_steps + 1)
    return recipe.learning_rate * (1 - (step - warmup_steps) / (recipe.steps - warmup_steps)) ** recipe.decay_power

"""What a predictor needs of a network, wherever it runs."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from fcn.images import Array

Output = Literal["labels", "probabilities", "logits"]


class Network(Protocol):
    """A trained network: uint8 RGB in, classes or scores of every pixel out."""

    model: Any  # the keras.Model; None for an exported file
    radius: int  # in pixels, how far a result sees
    size: tuple[int, int] | None  # (height, width) that it takes; None: any
    has_probabilities: bool  # False for a file that gives labels only

    def run(self, pixels: Array, *outputs: Output) -> list[Array]:
        """The outputs named, of an image uint8 (H, W, 3).

        `labels` are uint8 (H, W), `logits` and `probabilities` float32 (H, W, C).

        Raises:
            UserError: The network has no such output.
            MemoryError: The image is too large.
        """
        ...

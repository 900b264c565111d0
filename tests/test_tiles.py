"""Tiles give the logits of the whole image: the overlap is as large as needed, and small images are one tile."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fcn.config.settings import ENCODER_STRIDE, ModelConfig
from fcn.inference.tiles import MIN_SIDE, spans, tiles
from fcn.model.fcn import build_fcn
from fcn.model.inference_form import receptive_radius

LIMIT = 2**17  # pixels of a tile


def shift_to(end: int, **settings: object) -> keras.Model:
    """A network whose convolutions only look at their window's first (0) or last (-1) column; its skips give zero."""
    model = build_fcn(ModelConfig(width=1 / 128, head_units=1, batch_norm=False, **settings), 1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and not layer.name.startswith("score_pool"):
            kernel = np.zeros(layer.kernel.shape)
            kernel[len(kernel) // 2, end] = 1
            layer.set_weights([kernel, np.zeros(layer.bias.shape)])
    return model


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # 2 + 2 x 2 + 3 x 4 + 3 x 8 + 3 x 16 = 90 of the encoder, 32 of the head, 32 + 16 + 11 of the upsampling
        ({"encoder": "vgg16", "stride": 8, "head_window": 3}, 181),
        # 1 + 2 + 8 + 16 + 32 = 59, and 47 of one upsampling
        ({"encoder": "vgg11", "stride": 32, "head_window": 1}, 106),
        # 2 + 4 + 16 + 32 + 64 = 118, 96, and 32 + 16 + 8 + 4 + 2
        ({"encoder": "vgg19", "stride": 2, "head_window": 7}, 276),
    ],
)
def test_radius_is_the_farthest_that_a_pixel_is_seen(settings: dict[str, object], expected: int) -> None:
    places = np.arange(320, 320 + ENCODER_STRIDE)  # one dot an image, at each place in a cell
    dots = np.zeros((ENCODER_STRIDE, 1, 672, 3), np.uint8)
    dots[range(ENCODER_STRIDE), 0, places] = 255
    for end, direction in ((0, 1), (-1, -1)):
        model = shift_to(end, **settings)
        image, _, column, _ = np.nonzero(model(dots).numpy())
        assert max(direction * (column - places[image])) == expected == receptive_radius(model)


@pytest.fixture(
    scope="module",
    params=[
        *((stride, window, "after_pooling") for stride, window in ((32, 3), (8, 1), (8, 7), (2, 1))),
        (2, 3, "before_pooling"),  # like the network that comes with fcn
    ],
)
def model(request: pytest.FixtureRequest) -> keras.Model:
    stride, window, skips = request.param
    settings = {"head_window": window, "skips": skips, "learn_last_upsampling": skips == "before_pooling"}
    model = build_fcn(ModelConfig(encoder="vgg11", width=1 / 32, head_units=8, stride=stride, **settings), 3)
    random = np.random.default_rng(0)
    for weight in model.weights:
        noise = random.normal(size=weight.shape)
        if "variance" in weight.path:
            noise = 0.5 + noise**2
        elif weight.path.startswith("score"):  # zero as they are built
            noise *= 0.3
        elif "kernel" in weight.path:
            noise = weight.numpy() * (1 + 0.1 * noise)
        weight.assign(noise)
    return model


@pytest.mark.parametrize("size", [(1, 1), (1, 1500), (1700, 37), (500, 490)])
def test_tiles_give_the_logits_of_the_whole_image_and_not_with_less_overlap(
    model: keras.Model, size: tuple[int, int]
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)

    def tiled_logits(radius: int) -> np.ndarray:
        result = np.full((*size, 3), np.nan)
        for tile, kept, inner in tiles(*size, radius, LIMIT):
            result[kept] = model(image[tile][np.newaxis], training=False)[0].numpy()[inner]
        return result

    whole = model(image[np.newaxis], training=False)[0].numpy()
    radius = receptive_radius(model)
    np.testing.assert_allclose(tiled_logits(radius), whole, rtol=2e-6, atol=1e-4)
    assert (len(list(tiles(*size, radius, LIMIT))) == 1) == (size == (1, 1))
    if size != (1, 1):
        assert whole.std() > 0.1
        assert np.abs(tiled_logits(radius // 4) - whole).max() > 1e-3


@pytest.mark.parametrize("margin", [0, 128])
@pytest.mark.parametrize("length", [1, 31, 256, 257, 511, 512, 513, 5000])
def test_spans_keep_every_pixel_once_with_the_margin_around_it(length: int, margin: int) -> None:
    kept = []
    for tile, keep, inside in spans(length, 500, margin):
        assert tile.start % ENCODER_STRIDE == 0
        assert tile.stop % ENCODER_STRIDE == 0 or tile.stop == length
        assert tile.stop - tile.start <= 512
        assert keep.start - tile.start >= margin or tile.start == 0
        assert tile.stop - keep.stop >= margin or tile.stop == length
        assert (inside.start + tile.start, inside.stop + tile.start) == (keep.start, keep.stop)
        kept += range(keep.start, keep.stop)
    assert kept == list(range(length))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1024, 1024), {(1024, 1024)}),
        ((1025, 1024), {(1024, 1024), (385, 1024)}),
        ((200, 20_000), {(200, 5248), (200, 544)}),
        ((20_000, 200), {(5248, 200), (544, 200)}),
        ((1, 2**20 // MIN_SIDE), {(1, 2**20 // MIN_SIDE)}),
        ((4096, 4096), {(1024, 1024), (1024, 896), (896, 1024), (896, 896)}),
    ],
)
def test_tiles_of_long_images_are_long_and_of_few_shapes(size: tuple[int, int], expected: set[tuple[int, int]]) -> None:
    windows = [tile for tile, _, _ in tiles(*size, radius=181, limit=2**20)]
    shapes = {(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in windows}
    assert shapes == expected

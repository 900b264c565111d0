"""What is done to a frame is done to its label, and nothing is made up at the border."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import tensorflow as tf

from fcn.config.settings import AugmentConfig
from fcn.images import IGNORE, Array
from fcn.training.augment import augment_frame, crop, recolor, resize

OFF = {"scale": (1.0, 1.0), "flip": False}


def frame(height: int = 20, width: int = 30) -> tuple[Array, Array]:
    """A label that can be read off its image: the red channel is the label, green and blue the place."""
    rows, columns = np.indices((height, width), dtype=np.uint8)
    label = (rows * 7 + columns * 3) % 251
    return np.stack([label, rows, columns], axis=-1), label


def augment(config: AugmentConfig, seed: int, height: int = 20, width: int = 30) -> tuple[Array, Array]:
    image, label = augment_frame(*frame(height, width), config, tf.constant([0, seed], tf.int64))
    return image.numpy(), label.numpy()


def test_image_and_label_are_cut_and_mirrored_alike() -> None:
    for seed in range(20):  # half of them mirrored
        image, label = augment(AugmentConfig(crop_size=(8, 9), scale=(1.0, 1.0), flip=True), seed)
        np.testing.assert_array_equal(image[..., 0], label)


def test_image_and_label_are_scaled_alike() -> None:
    # a step edge stays at the same place in both, to the pixel that interpolation may blur
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 200
    label = (image[..., 0] > 0).astype(np.uint8)
    for seed in range(20):
        config = AugmentConfig(crop_size=(16, 32), scale=(0.5, 2.0), flip=False)
        scaled, scaled_label = augment_frame(image, label, config, tf.constant([1, seed], tf.int64))
        differ = (scaled[..., 0].numpy() > 100) != (scaled_label.numpy() == 1)
        assert differ[scaled_label != IGNORE].reshape(-1).sum() <= 16  # one pixel a row


def valid_sizes(config: AugmentConfig, seeds: int) -> np.ndarray:
    """Height and width (seeds, 2) of what a frame of 20 x 20 pixels becomes in a crop that is larger."""
    image, label = frame(20, 20)
    sizes = []
    for seed in range(seeds):
        valid = augment_frame(image, label, config, tf.constant([0, seed], tf.int64))[1].numpy() != IGNORE
        sizes.append((valid.any(axis=1).sum(), valid.any(axis=0).sum()))
    return np.array(sizes)


def test_scale_is_drawn_from_the_whole_range() -> None:
    sizes = valid_sizes(AugmentConfig(crop_size=(100, 100), scale=(1.0, 5.0), flip=False), 100)
    assert sizes.min() < 20 * 1.2
    assert sizes.max() > 20 * 4.8


def test_aspect_widens_and_narrows_and_leaves_the_height() -> None:
    heights, widths = valid_sizes(AugmentConfig(crop_size=(40, 40), **OFF, aspect=0.5), 60).T
    assert set(heights) == {20}
    assert 10 <= min(widths) < 12
    assert 28 < max(widths) <= 30


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
def test_scale_is_size_after_over_before_and_padding_does_not_bleed_into_the_frame(scale: float) -> None:
    image, label = np.full((20, 30, 3), 200, np.uint8), np.zeros((20, 30), np.uint8)
    config = AugmentConfig(crop_size=(40, 60), scale=(scale, scale), flip=False)
    scaled, scaled_label = augment_frame(image, label, config, tf.constant([0, 0], tf.int64))
    valid = scaled_label.numpy() != IGNORE
    assert valid.sum() == 20 * scale * 30 * scale
    assert (scaled.numpy()[valid] == 200).all()
    assert not scaled.numpy()[~valid].any()


@pytest.mark.parametrize("crop_size", [(20, 30), (24, 40)])
def test_frame_without_variation_stays_and_is_padded_with_ignored_black(crop_size: tuple[int, int]) -> None:
    image, label = augment(AugmentConfig(crop_size=crop_size, **OFF), 3)
    padding = [(0, crop_size[0] - 20), (0, crop_size[1] - 30)]
    np.testing.assert_array_equal(image, np.pad(frame()[0], [*padding, (0, 0)]))
    np.testing.assert_array_equal(label, np.pad(frame()[1], padding, constant_values=IGNORE))


def test_labels_are_never_interpolated() -> None:
    image, label = frame()
    label = np.where(label > 125, 7, 3).astype(np.uint8)
    for size in ((11, 17), (53, 90), (1, 1)):
        assert set(np.unique(resize(image, label, size)[1])) <= {3, 7}


def test_crop_reaches_every_place_and_no_further() -> None:
    image, label = frame(6, 6)
    places = {
        tuple(crop(image, label, tf.constant([4, 5]), tf.constant(place, tf.float32))[0][0, 0, 1:])
        for place in np.stack(np.meshgrid(*[np.linspace(0, 0.999, 12)] * 2), -1).reshape(-1, 2)
    }
    assert places == {(row, column) for row in range(3) for column in range(2)}


def test_half_of_the_frames_are_mirrored() -> None:
    config = AugmentConfig(crop_size=(20, 30), scale=(1.0, 1.0), flip=True)
    mirrored = sum(augment(config, seed)[0][0, 0, 2] == 29 for seed in range(200))
    assert 70 <= mirrored <= 130  # within four standard deviations


def test_eager_frames_equal_those_of_a_parallel_pipeline_and_differ_between_seeds() -> None:
    config = AugmentConfig(crop_size=(13, 17), scale=(0.5, 2.0))
    image, label = frame()
    seeds = tf.data.Dataset.range(8).map(
        lambda seed: augment_frame(tf.constant(image), tf.constant(label), config, tf.stack([0, seed])),
        num_parallel_calls=4,
    )
    frames = set()
    for seed, (piped_image, piped_label) in enumerate(seeds):
        eager_image, eager_label = augment(config, seed)
        np.testing.assert_array_equal(piped_image, eager_image)
        np.testing.assert_array_equal(piped_label, eager_label)
        frames.add(eager_image.tobytes())
    assert len(frames) == 8


COLORS = np.array([[200, 100, 50], [60, 80, 180], [128, 128, 128], [30, 90, 90]], np.uint8).reshape(2, 2, 3)


REACH = {"brightness": 0.1, "contrast": 0.3, "saturation": 0.4, "hue": 0.05, "gamma": 0.25}
ALONE = [({name: 0.2}, [draw] * 5) for name in REACH for draw in (0.0, 0.25, 0.5, 1.0)]


@pytest.mark.parametrize(("reach", "draws"), [*ALONE, (REACH, [0.9, 0.7, 0.2, 0.6, 0.3])])
def test_colors_change_as_named_in_the_stated_order_each_by_its_own_draw(
    reach: dict[str, float], draws: list[float]
) -> None:
    largest = np.array([reach.get(name, 0) for name in REACH])
    brightness, contrast, saturation, hue, gamma = largest * (2 * np.array(draws) - 1)
    turned = []
    for y, i, q in (colorsys.rgb_to_yiq(*pixel) for pixel in COLORS.reshape(-1, 3) / 255):
        chroma = complex(i, q) * (1 + saturation) * np.exp(2j * np.pi * hue)
        turned.append(colorsys.yiq_to_rgb(y, chroma.real, chroma.imag))
    mean = np.mean(turned, axis=0)
    expected = np.clip(mean + (np.array(turned) - mean) * (1 + contrast) + brightness, 0, 1) ** np.exp(gamma)
    found = recolor(tf.constant(COLORS), AugmentConfig(**reach), [tf.constant(draw) for draw in draws])
    assert found.dtype == tf.uint8
    np.testing.assert_allclose(found, expected.reshape(2, 2, 3) * 255, atol=0.51)


def test_colors_beyond_the_range_are_cut_off_and_labels_and_padding_stay() -> None:
    image, label = np.full((4, 4, 3), 250, np.uint8), np.arange(16, dtype=np.uint8).reshape(4, 4)
    config = AugmentConfig(crop_size=(6, 6), **OFF, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.4, gamma=0.5)
    seen = set()
    for seed in range(10):
        varied, same = (one.numpy() for one in augment_frame(image, label, config, tf.constant([0, seed], tf.int64)))
        np.testing.assert_array_equal(same[:4, :4], label)
        assert not varied[4:].any()
        assert not varied[:, 4:].any()
        seen.add(int(varied[0, 0, 0]))
    assert 255 in seen
    assert len(seen) > 3

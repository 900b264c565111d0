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


@pytest.mark.parametrize("flip", [False, True])
def test_image_and_label_are_cut_and_mirrored_alike(flip: bool) -> None:
    for seed in range(20):
        image, label = augment(AugmentConfig(crop_size=(8, 9), scale=(1.0, 1.0), flip=flip), seed)
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


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_scale_is_the_size_of_a_thing_after_over_before(scale: float) -> None:
    image, label = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    image[24:40, 24:40], label[24:40, 24:40] = 200, 1  # 16 x 16 pixels
    config = AugmentConfig(crop_size=(int(64 * scale),) * 2, scale=(scale, scale), flip=False)
    _, scaled = augment_frame(image, label, config, tf.constant([0, 0], tf.int64))
    assert int(tf.reduce_sum(tf.cast(scaled == 1, tf.int32))) == (16 * scale) ** 2


def test_scale_is_drawn_from_the_whole_range() -> None:
    image, label = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    config = AugmentConfig(crop_size=(100, 100), scale=(1.0, 5.0), flip=False)  # the frame's part tells its scale
    parts = [augment_frame(image, label, config, tf.constant([0, seed], tf.int64))[1] for seed in range(100)]
    sides = np.sqrt([int(tf.reduce_sum(tf.cast(part != IGNORE, tf.int32))) for part in parts])
    assert sides.min() < 8 * 1.2
    assert sides.max() > 8 * 4.8


def test_padding_does_not_bleed_into_the_frame() -> None:
    image, label = np.full((20, 30, 3), 200, np.uint8), np.zeros((20, 30), np.uint8)
    config = AugmentConfig(crop_size=(40, 60), scale=(1.5, 1.5), flip=False)
    scaled, scaled_label = augment_frame(image, label, config, tf.constant([0, 0], tf.int64))
    valid = scaled_label.numpy() != IGNORE
    assert valid.sum() == 30 * 45
    assert (scaled.numpy()[valid] == 200).all()
    assert not scaled.numpy()[~valid].any()


def test_whole_frame_without_variation_is_the_frame() -> None:
    image, label = augment(AugmentConfig(crop_size=(20, 30), **OFF), 0)
    np.testing.assert_array_equal(image, frame()[0])
    np.testing.assert_array_equal(label, frame()[1])


def test_small_frames_are_padded_with_ignored_black() -> None:
    image, label = augment(AugmentConfig(crop_size=(24, 40), **OFF), 3)
    np.testing.assert_array_equal(label[:20, :30], frame()[1])
    assert (label[20:] == IGNORE).all()
    assert (label[:, 30:] == IGNORE).all()
    assert not image[20:].any()
    assert not image[:, 30:].any()


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


def test_same_seed_same_frame_and_other_seeds_differ() -> None:
    config = AugmentConfig(crop_size=(8, 8), scale=(0.5, 2.0))
    first, again, other = augment(config, 5)[0], augment(config, 5)[0], augment(config, 6)[0]
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_half_of_the_frames_are_mirrored() -> None:
    config = AugmentConfig(crop_size=(20, 30), scale=(1.0, 1.0), flip=True)
    mirrored = sum(augment(config, seed)[0][0, 0, 2] == 29 for seed in range(200))
    assert 70 <= mirrored <= 130  # within four standard deviations


def test_eager_frames_equal_those_of_a_parallel_pipeline() -> None:
    config = AugmentConfig(crop_size=(13, 17), scale=(0.5, 2.0))
    image, label = frame()
    seeds = tf.data.Dataset.range(8).map(
        lambda seed: augment_frame(tf.constant(image), tf.constant(label), config, tf.stack([0, seed])),
        num_parallel_calls=4,
    )
    for seed, (piped_image, piped_label) in enumerate(seeds):
        eager_image, eager_label = augment(config, seed)
        np.testing.assert_array_equal(piped_image, eager_image)
        np.testing.assert_array_equal(piped_label, eager_label)


def test_aspect_widens_and_narrows_and_leaves_the_height() -> None:
    image, label = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)
    config = AugmentConfig(crop_size=(80, 80), scale=(1.0, 1.0), aspect=0.5, flip=False)
    sizes = []
    for seed in range(60):
        valid = augment_frame(image, label, config, tf.constant([0, seed], tf.int64))[1].numpy() != IGNORE
        sizes.append((valid.any(axis=1).sum(), valid.any(axis=0).sum()))
    heights, widths = zip(*sizes, strict=True)
    assert set(heights) == {40}
    assert 20 <= min(widths) < 24
    assert 56 < max(widths) <= 60


COLORS = np.array([[200, 100, 50], [60, 80, 180], [128, 128, 128], [30, 90, 90]], np.uint8).reshape(2, 2, 3)


@pytest.mark.parametrize("draw", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue", "gamma"])
def test_each_color_change_is_the_one_it_is_named_for(name: str, draw: float) -> None:
    by = 0.2 * (2 * draw - 1)
    expected = []
    mean = COLORS.reshape(-1, 3).mean(axis=0) / 255
    for pixel in COLORS.reshape(-1, 3) / 255:
        y, i, q = colorsys.rgb_to_yiq(*pixel)
        turned = complex(i, q) * np.exp(2j * np.pi * by)
        expected.append(
            {
                "brightness": pixel + by,
                "contrast": mean + (pixel - mean) * (1 + by),
                "saturation": colorsys.yiq_to_rgb(y, i * (1 + by), q * (1 + by)),
                "hue": colorsys.yiq_to_rgb(y, turned.real, turned.imag),
                "gamma": pixel ** np.exp(by),
            }[name]
        )
    found = recolor(tf.constant(COLORS), AugmentConfig(**{name: 0.2}), [tf.constant(draw)] * 5)
    assert found.dtype == tf.uint8
    np.testing.assert_allclose(found, np.clip(np.reshape(expected, (2, 2, 3)), 0, 1) * 255, atol=0.51)


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


def test_colors_change_in_the_stated_order_each_by_its_own_draw() -> None:
    reach = {"brightness": 0.1, "contrast": 0.3, "saturation": 0.4, "hue": 0.05, "gamma": 0.25}
    draws = np.array([0.9, 0.7, 0.2, 0.6, 0.3])
    brightness, contrast, saturation, hue, gamma = np.array(list(reach.values())) * (2 * draws - 1)
    turned = []
    for y, i, q in (colorsys.rgb_to_yiq(*pixel) for pixel in COLORS.reshape(-1, 3) / 255):
        chroma = complex(i, q) * (1 + saturation) * np.exp(2j * np.pi * hue)
        turned.append(colorsys.yiq_to_rgb(y, chroma.real, chroma.imag))
    mean = np.mean(turned, axis=0)
    expected = np.clip(mean + (np.array(turned) - mean) * (1 + contrast) + brightness, 0, 1) ** np.exp(gamma)
    found = recolor(tf.constant(COLORS), AugmentConfig(**reach), [tf.constant(draw, tf.float32) for draw in draws])
    np.testing.assert_allclose(found, expected.reshape(2, 2, 3) * 255, atol=0.51)

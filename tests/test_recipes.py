"""What a recipe is made of: schedule, remedies for imbalance, whitening, mirror image, a budget of time."""

import tracemalloc

import numpy as np
import pytest

from components.shared.data import arrays
from components.shared.errors import CannotRun
from components.shared.models import backend
from components.train import recipe, remedies
from components.train.config import TrainConfig

tf, keras = backend.start()
COUNTS = np.array([1000, 100, 10, 0])


def test_one_cycle_goes_up_for_a_fifth_and_down_to_nothing(knobs):
    config = knobs(TrainConfig, "train.cnn", learning_rate=1.0)
    rates = [recipe.rate(config, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.05)
    assert max(rates) == rates[19] == 1.0
    assert rates[-1] == pytest.approx(1 / 80)
    assert all(0 < rate <= 1 for rate in rates)
    assert recipe.rate(config, 0, 1) == 1.0  # a single batch learns something


def test_weights_are_one_on_the_average_and_nothing_for_an_empty_class():
    for remedy in remedies.REMEDIES:
        weights = remedies.weights(remedy, COUNTS)
        assert (weights * COUNTS).sum() == pytest.approx(COUNTS.sum(), rel=1e-5)
        assert weights[3] == 0
    balanced = remedies.weights("class_weight", COUNTS)
    assert balanced[:3] * COUNTS[:3] == pytest.approx([370, 370, 370], rel=1e-5)
    assert remedies.weights("none", COUNTS)[:3] == pytest.approx([1, 1, 1])
    effective = remedies.weights("effective_number", np.array([100_000, 10]))
    assert effective[1] / effective[0] == pytest.approx((1 - 0.9999**100_000) / (1 - 0.9999**10), rel=1e-3)


def test_deferred_weights_come_in_the_last_fifth():
    assert remedies.weights("deferred", COUNTS, progress=0.7)[:3] == pytest.approx([1, 1, 1])
    late = remedies.weights("deferred", COUNTS, progress=0.8)
    assert late == pytest.approx(remedies.weights("effective_number", COUNTS))


def test_outputs_are_shifted_by_the_log_of_a_classs_share():
    share = remedies.log_share(COUNTS)
    assert share[0] - share[1] == pytest.approx(np.log(10), rel=1e-5)
    assert np.isfinite(share).all()


def test_oversampling_draws_every_class_as_often():
    labels = np.repeat([0, 1], [900, 100])
    drawn = labels[remedies.order("oversample", labels, np.random.default_rng(0))]
    assert len(drawn) == 1000
    assert 400 < drawn.sum() < 600
    assert sorted(remedies.order("none", labels, np.random.default_rng(0))) == list(range(1000))


def test_a_remedy_that_does_not_go_with_the_loss_is_refused(knobs):
    with pytest.raises(CannotRun, match="balanced_softmax is a kind of cross entropy"):
        knobs(TrainConfig, "train.cnn", loss="mean_squared_error", imbalance="balanced_softmax")


def split(images: np.ndarray, folder) -> arrays.Split:
    written = arrays.create(folder, len(images), images.shape[1:])
    written[:] = images
    written.flush()
    arrays.describe(
        folder, np.zeros(len(images), np.int32), [{"id": "", "source": "", "label": "", "group": None}] * len(images)
    )
    return arrays.load(folder)


def test_whitened_patches_are_uncorrelated_and_the_filters_come_with_both_signs(tmp_path):
    from components.train import whitening
    from components.train.presets import network

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (300, 25, 25, 1))
    smooth = ((noise[:, 1:, 1:] + noise[:, :-1, 1:] + noise[:, 1:, :-1] + noise[:, :-1, :-1]) // 4).astype(np.uint8)
    built = network("cnn", "default", (24, 24, 1), 2, dropout=0.0)
    whitening.fill(built, split(smooth, tmp_path / "split"), seed=1)
    layer = built.get_layer(whitening.NAME)
    kernel = np.asarray(layer.kernel).reshape(9, 16)
    assert not layer.trainable
    assert np.array_equal(kernel[:, :8], -kernel[:, 8:])
    pixels = smooth[..., 0].astype(float) / 127.5 - 1
    patches = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3), axis=(1, 2)).reshape(-1, 9)
    answers = np.cov(patches @ kernel[:, :8], rowvar=False)
    assert np.abs(answers - np.diag(np.diag(answers))).max() < 0.1 * answers.max()


@pytest.mark.parametrize("shape", [(128, 128, 3), (8, 48, 48, 3)])
def test_whitening_takes_no_more_memory_for_larger_pictures_and_clips(tmp_path, shape):
    from components.train import whitening
    from components.train.presets import network

    pictures = split(np.random.default_rng(0).integers(0, 256, (500, *shape), dtype=np.uint8), tmp_path / "split")
    built = network("cnn", "default", shape, 2, dropout=0.0)
    tracemalloc.start()
    whitening.fill(built, pictures, seed=1)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 6 * whitening.PATCHES * 27 * 8  # bytes: patches of 3x3 pixels in float64, and what numpy makes of them


def test_muon_moves_a_kernel_in_all_its_directions_alike():
    from components.train.muon import Muon

    kernel = keras.Variable(np.zeros((3, 3, 4, 8), np.float32), name="kernel")
    optimizer = Muon(0.1, weight_decay=None, adam_weight_decay=None)
    optimizer.build([kernel])
    rng = np.random.default_rng(0)
    steep = rng.standard_normal((36, 8)) * np.geomspace(1, 100, 8)
    optimizer.apply([tf.constant(steep.reshape(3, 3, 4, 8), tf.float32)], [kernel])
    moved = np.linalg.svd(np.asarray(kernel).reshape(36, 8), compute_uv=False)
    assert moved.max() / moved.min() < 3 < np.linalg.cond(steep)


@pytest.mark.parametrize(("cell", "gates"), [("lstm_cell", 4), ("gru_cell", 3), ("dense", 1)])
@pytest.mark.parametrize("rows", [6, 40])
def test_muon_moves_each_gate_of_a_recurrent_kernel_as_keras_moves_a_matrix(cell, gates, rows):
    from components.train.muon import Muon

    layer = {"lstm_cell": keras.layers.LSTM, "gru_cell": keras.layers.GRU, "dense": keras.layers.Dense}[cell](8)
    layer.build((1, 5, rows) if gates > 1 else (1, rows))
    kernel = layer.trainable_variables[0]
    kernel.assign(np.zeros(kernel.shape))
    optimizer = Muon(0.1, weight_decay=None, adam_weight_decay=None)
    optimizer.build([kernel])
    gradient = np.random.default_rng(0).standard_normal(kernel.shape).astype(np.float32)
    gradient[:, :8] *= 100
    optimizer.apply([tf.constant(gradient)], [kernel])
    for gate in range(gates):
        one = keras.Variable(np.zeros((rows, 8), np.float32), name="kernel")
        theirs = keras.optimizers.Muon(0.1, weight_decay=None)
        theirs.build([one])
        theirs.apply([tf.constant(gradient[:, 8 * gate : 8 * gate + 8])], [one])
        np.testing.assert_allclose(np.asarray(kernel)[:, 8 * gate : 8 * gate + 8], np.asarray(one), atol=1e-5)


def test_the_fused_normalisation_is_kerass_own_to_the_last_digits():
    from components.train.normalization import FusedBatchNormalization

    images = np.random.default_rng(0).standard_normal((64, 20, 20, 16)).astype(np.float32) * 3 + 1
    ours, theirs = (
        FusedBatchNormalization(momentum=0.9, scale=False),
        keras.layers.BatchNormalization(momentum=0.9, scale=False),
    )
    for layer in (ours, theirs):
        layer.build(images.shape)
    for training in (True, True, False):
        np.testing.assert_allclose(ours(images, training=training), theirs(images, training=training), atol=1e-3)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        # The fused operation divides by n - 1 where Keras divides by n.
        np.testing.assert_allclose(one, other, rtol=0.01)


def test_the_temperature_brings_back_what_was_exaggerated():
    from components.train import calibration

    rng = np.random.default_rng(0)
    logits = rng.standard_normal((1, 4000, 5)) * 2
    probabilities = np.exp(logits[0]) / np.exp(logits[0]).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(5, p=row) for row in probabilities])
    for factor in (0.5, 1.0, 3.0):
        assert calibration.fit(logits * factor, labels) == (pytest.approx(factor, rel=0.06), False)


def test_a_temperature_is_kept_only_where_it_lowers_the_loss_of_samples_that_it_was_not_fitted_to():
    from components.train import calibration

    kept = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        logits = rng.standard_normal((1, 60, 5)) * 2
        probabilities = np.exp(logits[0]) / np.exp(logits[0]).sum(axis=1, keepdims=True)
        labels = np.array([rng.choice(5, p=row) for row in probabilities])
        divisor, _ = calibration.fit(logits, labels)
        kept.append(divisor)
        assert calibration.fit(logits * 3, labels)[0] > 1.5  # boasting is seen in few samples, too
    # Of 60 honest answers each fit finds some divisor; most of them are worth nothing elsewhere.
    assert sum(divisor == 1 for divisor in kept) > 20

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from components.augment.config import AugmentConfig
from components.augment.policies import vary
from components.augment.step import CLASSES, augment, copies_of
from components.shared.data import arrays

OFF = {"flip": False, "shift": 0.0, "rotate": 0.0, "scale": 0.0, "brightness": 0.0, "contrast": 0.0, "noise": 0.0, "erase": 0.0}
SIDES = np.arange(40) % 2 == 0  # every other one is mirrored, where flip is on
IMAGES = np.random.default_rng(0).integers(1, 255, (40, 16, 16, 3), dtype=np.uint8)
IMAGES.flags.writeable = False  # changes are made in place, but not to what was handed over


@pytest.fixture
def policy(knobs):
    """`policy(flip=True)`: everything off but what is named."""
    return lambda **on: knobs(AugmentConfig, "augment", **{**OFF, **on})


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_with_everything_off_a_copy_is_the_picture(policy):
    assert np.array_equal(vary(IMAGES, SIDES, policy(), rng()), IMAGES)


def test_flip_mirrors_every_other_copy_of_a_picture(policy):
    varied = vary(IMAGES, SIDES, policy(flip=True), rng())
    assert np.array_equal(varied[SIDES], IMAGES[SIDES][:, :, ::-1])
    assert np.array_equal(varied[~SIDES], IMAGES[~SIDES])
    labels = np.repeat([0, 1], [10, 4])
    origins, mirrored = copies_of(labels, policy(flip=True, copies=2, balance=0.0), rng())
    for sample in range(14):
        assert sorted(mirrored[origins == sample]) == [False, True]
    assert not copies_of(labels, policy(copies=2, balance=0.0), rng())[1].any()


def test_pictures_are_moved_without_starting_tensorflow(policy):
    script = (
        "import sys, numpy as np; from components.augment.config import AugmentConfig; from components.augment.policies import vary\n"
        f"config = AugmentConfig(**{policy(flip=True, rotate=10.0, scale=0.2).model_dump()})\n"
        "vary(np.ones((4, 9, 8, 3), np.uint8), np.arange(4) % 2 == 0, config, np.random.default_rng(1))\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_shift_moves_by_whole_pixels_and_repeats_the_border(policy):
    varied = vary(IMAGES, SIDES, policy(shift=0.13), rng())
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    shifts = [(y, x) for y in range(5) for x in range(5)]
    found = [[(varied[n] == padded[n, y : y + 16, x : x + 16]).all() for y, x in shifts] for n in range(40)]
    assert all(any(one) for one in found)
    assert len({shifts[one.index(True)] for one in found}) > 5


def test_rotation_by_half_a_turn_is_exact_about_the_middle(policy, monkeypatch):
    class Half:
        """A generator that always turns by 180 degrees."""

        def uniform(self, low, high, size):
            return np.full(size, high if high == 180 else 0.0)

        def random(self, size):
            return np.ones(size)

    varied = vary(IMAGES, SIDES, policy(rotate=180.0), Half())
    assert np.abs(varied.astype(int) - IMAGES[:, ::-1, ::-1]).max() <= 1


def test_scale_keeps_the_middle_and_changes_the_size(policy):
    box = np.zeros((30, 33, 33, 1), np.uint8)
    box[:, 11:22, 11:22] = 200
    areas = (vary(box, SIDES[: len(box)], policy(scale=0.5), rng()) > 100).sum(axis=(1, 2, 3))
    assert areas.min() < 80
    assert areas.max() > 250
    assert 60 < np.exp(np.log(areas).mean()) < 240


@pytest.mark.parametrize("name", ["brightness", "contrast", "noise"])
def test_light_and_noise_change_values_but_not_shapes(policy, name):
    varied = vary(IMAGES, SIDES, policy(**{name: 0.3}), rng())
    assert varied.shape == IMAGES.shape
    assert varied.dtype == np.uint8
    assert (varied != IMAGES).any(axis=(1, 2, 3)).mean() > 0.9


def test_erasing_hides_a_rectangle_in_about_half_of_the_pictures(policy):
    varied = vary(IMAGES, SIDES, policy(erase=0.3), rng())
    changed = (varied != IMAGES).any(axis=3)
    hit = changed.any(axis=(1, 2))
    assert 8 < hit.sum() < 32
    assert changed[hit].mean() < 0.35
    for before, after, where in zip(IMAGES[hit], varied[hit], changed[hit], strict=True):
        rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        box = after[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert np.array_equal(box, np.broadcast_to(np.rint(before.mean(axis=(0, 1))), box.shape))


def test_all_frames_of_a_clip_move_alike_and_padding_stays(policy):
    clips = np.repeat(IMAGES[:10, None], 4, axis=1)
    clips[:, 3] = 0
    varied = vary(
        clips,
        SIDES[: len(clips)],
        policy(flip=True, shift=0.2, rotate=20.0, scale=0.2, brightness=0.2, contrast=0.2, erase=0.2),
        rng(),
    )
    assert np.array_equal(varied[:, 0], varied[:, 1])
    assert np.array_equal(varied[:, 0], varied[:, 2])
    assert not varied[:, 3].any()
    assert (varied[:, 0] != clips[:, 0]).any()


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("level", [1, 2, 9, 255])
def test_a_frame_that_is_there_never_becomes_padding_and_padding_never_a_frame(policy, level, strength):
    clips = np.zeros((12, 6, 16, 16, 3), np.uint8)
    clips[:, :4, 3, 5] = level  # dark but for one place, which a move can push out of the picture
    clips[6:, :4] = level
    for knobs in (
        {"brightness": strength}, {"contrast": min(strength, 0.99)}, {"noise": strength}, {"erase": strength / 2},
        {"shift": min(strength, 0.9), "rotate": 180 * strength, "scale": min(strength, 0.9)},
        {"flip": True, "brightness": strength, "contrast": min(strength, 0.9), "noise": 0.01, "erase": 0.5, "rotate": 45.0},
    ):  # fmt: skip
        for seed in range(3):
            varied = vary(clips, SIDES[:12], policy(**knobs), rng(seed))
            assert varied[:, :4].any(axis=(2, 3, 4)).all(), knobs
            assert not varied[:, 4:].any(), knobs


@pytest.mark.parametrize("strength", [{"contrast": 0.5}, {"erase": 0.5}, {"brightness": 0.5}, {"shift": 0.3, "rotate": 20.0}])
def test_how_much_padding_follows_changes_no_frame(policy, strength):
    clips = IMAGES.reshape(10, 4, 16, 16, 3)
    longer = np.concatenate([clips, np.zeros((10, 12, 16, 16, 3), np.uint8)], axis=1)
    alone, padded = (vary(images, SIDES[:10], policy(**strength), rng()) for images in (clips, longer))
    assert np.array_equal(padded[:, :4], alone)
    assert not np.array_equal(alone, clips)


def test_a_still_may_become_black(policy):
    stills = np.full((40, 8, 8, 1), 1, np.uint8)
    assert not vary(stills, SIDES, policy(brightness=1.0), rng()).all()


def test_seeded(policy):
    config = policy(flip=True, shift=0.2, noise=0.1, erase=0.2)
    assert np.array_equal(vary(IMAGES, SIDES, config, rng()), vary(IMAGES, SIDES, config, rng()))
    assert not np.array_equal(vary(IMAGES, SIDES, config, rng()), vary(IMAGES, SIDES, config, rng(2)))


def test_rare_classes_are_filled_up_to_the_knob(knobs):
    labels = np.repeat([0, 1, 2], [100, 40, 5])

    def counts(**changes):
        config = knobs(AugmentConfig, "augment", **{"copies": 0, "balance": 0.5, "max_copies": 100, **changes})
        return (np.bincount(labels) + np.bincount(labels[copies_of(labels, config, rng())[0]], minlength=3)).tolist()

    assert counts() == [100, 50, 50]
    assert counts(balance=0.0) == [100, 40, 5]
    assert counts(balance=1.0) == [100, 100, 100]
    assert counts(max_copies=3) == [100, 50, 20]
    assert counts(copies=1, max_copies=3) == [200, 100, 25]
    assert counts(copies=1) == [200, 100, 100]
    assert counts(copies=2, balance=0.0, max_copies=0) == [300, 120, 15]


def test_no_sample_is_copied_much_more_than_another(knobs):
    labels = np.repeat([0, 1], [100, 7])
    config = knobs(AugmentConfig, "augment", copies=0, balance=1.0, max_copies=100)
    copies = np.bincount(copies_of(labels, config, rng())[0], minlength=107)[100:]
    assert copies.sum() == 93
    assert np.ptp(copies) <= 1


def test_the_step_writes_originals_copies_and_a_preview(tmp_path, knobs):
    prepared = tmp_path / "prepared"
    arrays.create(prepared / "train", 40, (16, 16, 3))[:] = IMAGES
    labels = np.repeat([0, 1], [30, 10])
    samples = [{"id": str(n), "source": f"{n}.png", "label": "ab"[label], "group": None} for n, label in enumerate(labels)]
    arrays.describe(prepared / "train", labels, samples)
    arrays.Layout(["a", "b"], (16, 16, 3), "x.dir").write(prepared)
    config = knobs(AugmentConfig, "augment", copies=1, balance=1.0, max_copies=5)
    for name in ("one", "two"):
        augment(prepared=prepared, config=config, seed=5, augmented=tmp_path / name)
    split = arrays.load(tmp_path / "one")
    assert np.array_equal(split.images[:40], IMAGES)
    assert np.bincount(split.labels).tolist() == [60, 60]
    assert [sample["label"] for sample in split.samples()] == ["ab"[label] for label in split.labels]
    assert np.array_equal(split.images, arrays.load(tmp_path / "two").images)
    assert (tmp_path / "one" / "preview.png").read_bytes() == (tmp_path / "two" / "preview.png").read_bytes()


@pytest.mark.parametrize("on", [{}, {"brightness": 0.5}, {"flip": True}])
def test_no_copies_where_nothing_varies_and_it_says_so(tmp_path, knobs, capsys, on):
    """Class b is black and symmetric: no brightness and no mirror changes it."""
    prepared, labels = tmp_path / "prepared", np.repeat([0, 1], [30, 10])
    images = arrays.create(prepared / "train", 40, (16, 16, 3))
    images[:] = np.where(labels[:, None, None, None] == 0, IMAGES, 0)
    arrays.describe(prepared / "train", labels, [{"id": str(n), "source": f"{n}.png", "label": "ab"[y], "group": None}
                                                 for n, y in enumerate(labels)])  # fmt: skip
    arrays.Layout(["a", "b"], (16, 16, 3), "x.dir").write(prepared)
    config = knobs(AugmentConfig, "augment", **{**OFF, **on, "copies": 1, "balance": 1.0, "max_copies": 5})
    augment(prepared=prepared, config=config, seed=5, augmented=tmp_path / "augmented")
    split = arrays.load(tmp_path / "augmented", arrays.Layout.read(tmp_path / "augmented"))
    assert np.bincount(split.labels).tolist() == ([60, 10] if on else [30, 10])
    assert [sample["label"] for sample in split.samples()] == ["ab"[label] for label in split.labels]
    assert on == {} or not np.array_equal(split.images[40:], split.images[:30])
    said = capsys.readouterr().out
    assert f"augment: no copies of {'1 class (' if on else '2 classes ('}" in said
    assert f"augment: 40 pictures and {30 if on else 0} copies;" in said
    assert (tmp_path / "augmented/preview.png").exists()


def test_the_preview_shows_every_class_on_as_many_pages_as_it_needs(tmp_path, knobs):
    names = [f"class {number:03d}" for number in range(CLASSES + 3)]
    arrays.create(tmp_path / "prepared/train", len(names), (8, 8, 1))[:] = 7
    samples = [{"id": name, "source": f"{name}.png", "label": name, "group": None} for name in names]
    arrays.describe(tmp_path / "prepared/train", np.arange(len(names)), samples)
    arrays.Layout(names, (8, 8, 1), "x.dir").write(tmp_path / "prepared")
    augment(prepared=tmp_path / "prepared", config=knobs(AugmentConfig, "augment"), seed=5, augmented=tmp_path / "augmented")
    heights = {}
    for file in sorted((tmp_path / "augmented").glob("preview*.png")):
        with Image.open(file) as image:
            heights[file.name] = image.height
    assert list(heights) == ["preview-2.png", "preview.png"]
    row = (heights["preview.png"] - heights["preview-2.png"]) / (CLASSES - 3)
    assert 50 < row < 200

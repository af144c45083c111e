"""What gives a clip's label away, and how good the model behind a suspicion is: said with its figures, or not at all."""

import drawn
import numpy as np
import pytest

from components.validate.config import ValidateConfig


@pytest.fixture
def told(tmp_path, knobs):
    """`told(frames, distinct)`: what the checks say of clips with so many frames, so many of them different."""

    def tell(frames: list[int], distinct: list[int]) -> dict[str, dict]:
        drawn.draw(tmp_path / "m", len(frames), ["stop", "wave"])
        digests = [[1000 * clip + min(t, last - 1) for t in range(count)]
                   for clip, (count, last) in enumerate(zip(frames, distinct, strict=True), 1)]  # fmt: skip
        drawn.change(tmp_path / "m", {"frames": frames, "frame_digests": digests})
        return drawn.told(tmp_path / "m", knobs(ValidateConfig, "validate"))

    return tell


def test_clips_of_another_length_by_class_are_a_shortcut_and_the_advice_is_a_number(told):
    lengths = [8, 12] * 30
    found = told(lengths, lengths)["W_LENGTH_SHORTCUT"]
    assert found["message"] == (
        "clip length predicts the label (validate.max_shortcut): the number of frames alone ('stop' 8.0 a clip, 'wave' 12.0) predicts "
        "the label in 100% of the cases (mean over classes; a guess: 50%); the shortest clip has 8"
    )
    assert "set prepare.max_frames to the frames of the shortest clip" in found["fix"]


def test_of_clips_of_one_length_those_filled_up_with_repeats_are_told_as_such(told):
    found = told([16] * 60, [16, 11] * 30)["W_LENGTH_SHORTCUT"]
    assert "the number of frames that repeat another one alone" not in found["message"]
    assert "how many frames repeat another one ('stop' 0.0 a clip, 'wave' 5.0) predicts" in found["message"]
    assert found["message"].endswith("each frame taken once, the shortest clip that moves has 11")
    assert "where frames repeat, take each once at the source" in found["fix"]


@pytest.mark.parametrize("clips", [10, 60, 400])
def test_lengths_and_repeats_that_have_nothing_to_do_with_the_label_are_none(told, clips):
    rng = np.random.default_rng(clips)
    frames = rng.integers(8, 17, clips).tolist()
    assert "W_LENGTH_SHORTCUT" not in told(frames, [int(rng.integers(6, count + 1)) for count in frames])


def test_ten_clips_can_not_show_that_their_length_tells(told):
    assert "W_LENGTH_SHORTCUT" not in told([8, 12, 8, 12, 8, 12, 8, 12, 12, 8], [6] * 10)


def test_suspects_come_with_the_accuracy_of_the_model_behind_them(tmp_path, knobs):
    drawn.draw(tmp_path / "m", 2000, ["a", "b"])
    labels = np.array(["a", "b"] * 1000)
    labels[::100] = "b"
    drawn.change(tmp_path / "m", {"label": labels.tolist()})
    found = drawn.told(tmp_path / "m", knobs(ValidateConfig, "validate"))["W_LABEL_SUSPECT"]
    assert 10 <= found["count"] <= 20
    assert found["message"].endswith("the simple model behind them agrees with 99% of the labels that it has not learnt from "
                                     "(mean over classes; a guess: 50%)")  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("groups", [None, 12])
def test_a_model_that_knows_nothing_suspects_nothing(tmp_path, knobs, seed, groups):
    """Labels by chance; of groups with a label and a look each, thousands of pictures are but twelve that are independent."""
    rng = np.random.default_rng(seed)
    drawn.draw(tmp_path / "m", 2000, ["a"] if groups is None else [f"look {n}" for n in range(groups)])
    group = np.arange(2000) % (groups or 2000)
    labels = np.array(["a", "b"])[rng.permutation(np.arange(groups or 2000) % 2)[group]]
    drawn.change(tmp_path / "m", {"label": labels.tolist(), "group": group.astype(str).tolist() if groups else [None] * 2000})
    limits = knobs(ValidateConfig, "validate", max_label_trust=0.5)
    assert "W_LABEL_SUSPECT" not in drawn.told(tmp_path / "m", limits)

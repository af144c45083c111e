"""Limits beside the set: what most pictures of a set have is how the set looks, what few have may be a slip."""

import drawn
import numpy as np
import pandas as pd
import pytest

from components.validate.config import ValidateConfig
from components.validate.outliers import unlike_most

LINES = {"entropy": 0.25, "dark_level": 255.0, "bright_level": 255.0, "common": 0.985, "contrast": 12.0, "sharpness": 0.9}
CODES = {"W_BLANK", "W_LOW_INFORMATION", "W_BLURRED", "W_DARK", "W_BRIGHT"}


@pytest.fixture
def told(tmp_path, knobs):
    """`told({column: values})`: what the checks of limits say of 1,000 pictures with these values."""
    drawn.draw(tmp_path / "m", 1000, ["a", "b"])

    def tell(columns: dict[str, np.ndarray]) -> dict[str, dict]:
        drawn.change(tmp_path / "m", columns)
        found = drawn.told(tmp_path / "m", knobs(ValidateConfig, "validate"))
        return {code: each for code, each in found.items() if code in CODES}

    return tell


def of_lines(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Black lines on white: little information, and nearly every pixel is white."""
    return {
        name: np.clip(value * rng.normal(1, 0.02, 1000), 0, 0.995 if name == "common" else 255) for name, value in LINES.items()
    }


def test_of_line_drawings_on_white_only_the_odd_one_is_told(told):
    columns = of_lines(np.random.default_rng(0))
    assert (columns["common"] >= 0.99).mean() > 0.2, "many are beyond the limit of a blank picture"
    assert told(columns) == {}
    columns["bright_level"][7], columns["dark_level"][7] = 20, 0
    columns["sharpness"][8] = 0.1
    found = told(columns)
    assert set(found) == {"W_DARK", "W_BLURRED"}
    assert found["W_DARK"]["items"] == ["b/000000007.png: brightest level 20 (median of the set 254)"]
    assert found["W_BLURRED"]["items"][0].startswith("a/000000008.png: sharpness 0.10 (median of the set 0.9")
    assert "unlike the rest of the set (validate.dark_below)" in found["W_DARK"]["message"]


@pytest.mark.parametrize(
    ("code", "column", "value"),
    [("W_LOW_INFORMATION", "entropy", 0.2), ("W_BLURRED", "sharpness", 0.1), ("W_DARK", "bright_level", 12.0),
     ("W_BRIGHT", "dark_level", 240.0)],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.004, 0.3])
def test_slips_among_ordinary_pictures_are_told_be_they_few_or_a_third(told, code, column, value, share):
    rng = np.random.default_rng(1)
    usual = {"entropy": (6, 0.5), "sharpness": (0.8, 0.03), "bright_level": (240, 8), "dark_level": (15, 6)}[column]
    values = rng.normal(*usual, 1000)
    slips = rng.random(1000) < share
    values[slips] = value
    found = told({column: np.clip(values, 0, 1 if column == "sharpness" else 255)})
    assert set(found) == {code}
    assert found[code]["count"] == slips.sum()


def test_a_set_without_any_contrast_is_blank_however_alike_its_pictures_are(told):
    assert told({"contrast": np.zeros(1000), "common": np.ones(1000)})["W_BLANK"]["count"] == 1000


def test_what_is_far_is_measured_towards_the_limit_and_a_value_that_is_missing_is_not_odd():
    values = pd.Series([0.20] * 96 + [0.49, 0.1, None, 0.199])
    assert np.flatnonzero(unlike_most(values, values < 0.5, low=True)).tolist() == [97]
    assert not unlike_most(values, values > 9, low=False).any()

"""Faults of every kind planted into real pictures at known places: how many are found, and how often the alarm is false."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import MEASURE, ROOT, by_code
from PIL import Image, ImageFilter

from components.ingest.step import ingest
from components.measure.step import measure
from components.shared.data import dataset
from components.shared.data.dataset import Sample
from components.shared.errors import Refused
from components.shared.pictures.encode import encode_png
from components.validate.config import ValidateConfig
from components.validate.step import validate

pytestmark = pytest.mark.slow


def judge(samples: list[Sample], folder: Path) -> tuple[dict, pd.DataFrame]:
    """Findings by code, and the table of faulty samples."""
    (folder / "data").mkdir(parents=True)
    for number in range(0, len(samples), 1000):
        dataset.write_shard(samples[number : number + 1000], folder / "data" / f"{number:06d}.parquet")
    measure(data=folder / "data", config=MEASURE, manifest=folder / "manifest")
    config = ValidateConfig(**yaml.safe_load((ROOT / "params.yaml").read_text())["validate"])
    with contextlib.suppress(Refused):
        validate(manifest=folder / "manifest", config=config, validation=folder / "validation")
    findings = by_code(folder / "validation/findings.json")
    return findings, pd.read_parquet(folder / "validation/findings.parquet")


def still(pixels: np.ndarray, source: str, label: str, split: str | None = None, group: str | None = None) -> Sample:
    return Sample(label, source, ((encode_png(pixels), source),), group, split)


def resaved(pixels: np.ndarray, how: int, rng: np.random.Generator) -> bytes:
    """The same picture to the eye: JPEG, enlarged, brighter, of less contrast, a little noise."""
    image, buffer, exact = Image.fromarray(pixels), io.BytesIO(), pixels.astype(float)
    if how == 0:
        image.save(buffer, "JPEG", quality=75)
        return buffer.getvalue()
    if how == 1:
        return encode_png(np.asarray(image.resize((42, 42), Image.Resampling.BILINEAR)))
    changed = {2: exact * 1.12, 3: (exact - 128) * 0.85 + 128, 4: exact + rng.normal(0, 4, exact.shape)}[how]
    return encode_png(np.clip(changed, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[tuple[np.ndarray, str, str]]:
    """6,000 pictures of Fashion-MNIST: pixels, label, split; a quarter of them for testing."""
    folder = tmp_path_factory.mktemp("fashion")
    ingest("fashion-mnist", folder / "data")
    found = {"test": [], "train": []}
    for shard in dataset.shards(folder / "data"):
        for sample in dataset.read_samples(shard):
            if len(found[sample.split]) < {"test": 1500, "train": 4500}[sample.split]:
                found[sample.split].append(
                    (np.asarray(Image.open(io.BytesIO(sample.frames[0][0]))), sample.label, sample.split)
                )
    return found["test"] + found["train"]


@pytest.fixture(scope="module")
def clean(pictures, tmp_path_factory) -> tuple[list[Sample], dict, pd.DataFrame]:
    samples = [still(pixels, f"{split}/{label}/{n:05d}.png", label, split) for n, (pixels, label, split) in enumerate(pictures)]
    return samples, *judge(samples, tmp_path_factory.mktemp("clean"))


def test_real_pictures_raise_hardly_an_alarm(clean):
    samples, findings, table = clean
    assert set(findings) <= {"W_NEAR_LEAKAGE", "W_NEAR_DUPLICATE", "W_NEAR_CONFLICT", "W_LABEL_SUSPECT"}
    near = table[table["code"].str.contains("NEAR")]["source"].nunique()
    assert near <= 0.01 * len(samples), "near twins among pictures that are none"
    assert (table["code"] == "W_LABEL_SUSPECT").sum() <= 0.01 * len(samples)


@pytest.fixture(scope="module")
def planted(clean, pictures, tmp_path_factory) -> tuple[dict[str, set[str]], dict, pd.DataFrame]:
    """Where what was planted (code -> sources), the findings, and the table of faulty samples."""
    samples, rng = list(clean[0]), np.random.default_rng(5)
    tests = [n for n, (_, _, split) in enumerate(pictures) if split == "test"]
    trains = [n for n, (_, _, split) in enumerate(pictures) if split == "train"]
    where: dict[str, set[str]] = {}

    def plant(code: str, *added: Sample, also: tuple[str, ...] = ()) -> None:
        samples.extend(added)
        where.setdefault(code, set()).update(sample.source for sample in added)
        where[code].update(also)

    for k in range(20):
        pixels, label, _ = pictures[trains[k]]
        plant("W_DUPLICATE", still(pixels, f"train/{label}/copy{k}.png", label, "train"))
        pixels, label, _ = pictures[tests[k]]
        plant("E_LEAKAGE", still(pixels, f"train/{label}/leak{k}.png", label, "train"), also=(samples[tests[k]].source,))
        pixels, label, _ = pictures[trains[100 + k]]
        other = "Bag" if label != "Bag" else "Coat"
        plant("E_LABEL_CONFLICT", still(pixels, f"train/{other}/conflict{k}.png", other, "train"),
              also=(samples[trains[100 + k]].source,))  # fmt: skip
    for k in range(200):
        pixels, label, _ = pictures[trains[200 + k]]
        source = f"train/{label}/near{k}.{'png' if k % 5 else 'jpg'}"
        near = Sample(label, source, ((resaved(pixels, k % 5, rng), source),), None, "train")
        plant("W_NEAR_DUPLICATE", near)
    for k in range(10):
        pixels, label, _ = pictures[trains[500 + k]]
        source = "train/" + label + "/{}" + str(k) + ".png"
        blur = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(3.5))
        plant("W_BLURRED", still(np.asarray(blur), source.format("blurred"), label, "train"))
        pixels, label, _ = pictures[trains[600 + k]]
        plant("W_DARK", still((pixels * 0.12).astype(np.uint8), source.format("dark"), label, "train"))
        plant("W_BRIGHT", still(235 + pixels // 13, source.format("bright"), label, "train"))
        plant("W_BLANK", still(np.full((28, 28), 20 * k, np.uint8), source.format("blank"), label, "train"))
        mark = np.zeros((28, 28), np.uint8)
        mark[3 * (k % 9) :, 0][:6], mark[:1, k : k + 8] = 255, 255
        plant("W_LOW_INFORMATION", still(mark, source.format("little"), label, "train"))
        large = Image.fromarray(pictures[trains[700 + k]][0]).resize((400, 400), Image.Resampling.NEAREST)
        plant("W_SIZE_MIX", still(np.asarray(large), source.format("large"), label, "train"))
        wide = Image.fromarray(pictures[trains[800 + k]][0]).resize((150, 15), Image.Resampling.BILINEAR)
        plant("W_ODD_RATIO", still(np.asarray(wide), source.format("wide"), label, "train"))
        slip = {0: "bag", 1: "Baag"}[k % 2]
        mirrored = pictures[trains[900 + k]][0][:, ::-1]
        plant("E_LABEL_UNKNOWN", still(mirrored, f"train/{slip}/slip{k}.png", slip, "train"))
        for split in ("train", "test"):
            pixels, label, _ = pictures[(trains if split == "train" else tests)[1000 + k]]
            numbered = (trains if split == "train" else tests)[1000 + k]
            samples[numbered] = still(pixels, samples[numbered].source, label, split, group=f"person {k}")
            plant("E_GROUP_LEAKAGE", also=(samples[numbered].source,))
    return where, *judge(samples, tmp_path_factory.mktemp("planted"))


def named(table: pd.DataFrame, code: str) -> set[str]:
    return set(table.loc[table["code"] == code, "source"])


@pytest.mark.parametrize("code", ["W_DUPLICATE", "E_LEAKAGE", "E_LABEL_CONFLICT", "E_GROUP_LEAKAGE", "E_LABEL_UNKNOWN"])
def test_what_is_exact_is_found_whole_and_nothing_else(planted, code):
    where, findings, table = planted
    assert named(table, code) == where[code]
    assert findings[code]["fix"]


def test_near_twins_are_found(planted, clean):
    where, _, table = planted
    found = set().union(*(named(table, code) for code in table["code"].unique() if "NEAR" in code or "DUPLICATE" in code))
    assert len(found & where["W_NEAR_DUPLICATE"]) >= 0.95 * len(where["W_NEAR_DUPLICATE"])
    pairs = table.set_index("source").loc[sorted(found & where["W_NEAR_DUPLICATE"]), "other"]
    assert pairs.notna().all()


@pytest.mark.parametrize(
    "code", ["W_BLURRED", "W_DARK", "W_BRIGHT", "W_BLANK", "W_LOW_INFORMATION", "W_SIZE_MIX", "W_ODD_RATIO"]
)
def test_pictures_that_show_nothing_are_found_and_no_others(planted, code):
    where, _, table = planted
    found = named(table, code)
    assert len(found & where[code]) >= 0.9 * len(where[code])
    assert not {source for source in found - where[code] if Path(source).stem.isdigit()}


def test_flipped_labels_are_among_the_first_suspects(clean, pictures, tmp_path):
    samples, rng = list(clean[0]), np.random.default_rng(2)
    names = sorted({label for _, label, _ in pictures})
    flipped = set()
    for n in rng.choice(len(samples), len(samples) // 20, replace=False):
        wrong = str(rng.choice([name for name in names if name != samples[n].label]))
        samples[n] = Sample(wrong, samples[n].source, samples[n].frames, None, samples[n].split)
        flipped.add(samples[n].source)
    _, table = judge(samples, tmp_path)
    suspects = table[table["code"] == "W_LABEL_SUSPECT"]
    first = set(suspects["source"].head(len(samples) // 20))
    assert len(first & flipped) >= 0.5 * len(flipped)
    right = {sample.source: label for sample, (_, label, _) in zip(clean[0], pictures, strict=True)}
    told = suspects[suspects["source"].isin(flipped)]
    assert np.mean([right[source] == label for source, label in zip(told["source"], told["suggested"], strict=True)]) > 0.7


def test_windows_of_one_recording_and_what_gives_a_clip_away_are_found(tmp_path):
    rng = np.random.default_rng(0)
    recordings = rng.integers(0, 255, (24, 40, 12, 12), dtype=np.uint8)

    def clip(number: int, start: int, length: int, label: str, split: str, name: str) -> Sample:
        frames = tuple((encode_png(recordings[number, t % 40]), f"{name}/{t:03d}.png") for t in range(start, start + length))
        return Sample(label, name, frames, None, split)

    samples = []
    for number in range(24):
        label, split = ("left", "right")[number % 2], "test" if number < 6 else "train"
        length = 8 if label == "left" else 6
        samples.append(clip(number, 0, length, label, split, f"{split}/{label}/{number}"))
    samples.append(clip(0, 4, 8, "left", "train", "train/left/shifted"))
    samples.append(clip(8, 5, 8, "left", "train", "train/left/window"))
    still_frames = tuple((encode_png(recordings[3, 30]), f"train/left/frozen/{t}.png") for t in range(8))
    samples.append(Sample("left", "train/left/frozen", still_frames, None, "train"))
    long = clip(9, 0, 80, "right", "train", "train/right/long")
    gap = clip(11, 0, 7, "right", "train", "train/right/gap")
    samples += [long, Sample(gap.label, gap.source, gap.frames[:3] + gap.frames[4:], None, "train")]
    findings, table = judge(samples, tmp_path)
    assert named(table, "E_LEAKAGE") >= {"test/left/0", "train/left/shifted"}
    assert "train/left/window" in named(table, "W_OVERLAP")
    assert named(table, "W_SEQ_FROZEN") == {"train/left/frozen"}
    assert named(table, "W_SEQ_LENGTH") == {"train/right/long"}
    assert findings["E_SEQ_GAP"]["items"] == ["train/right/gap: frame 3 is missing"]
    assert "the number of frames alone" in findings["W_LENGTH_SHORTCUT"]["message"]

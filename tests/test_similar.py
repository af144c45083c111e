"""`darkroom similar`: a picture finds itself and what was made of it first; whatever is wrong is told in a line."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import MEASURE, png
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from components.__main__ import main
from components.embed.config import EmbedConfig
from components.embed.step import embed
from components.ingest.step import ingest
from components.measure.step import measure
from components.shared.data import dataset

KNOBS = {"network": "efficientnet-lite0", "side": 64, "dimensions": 16, "frames": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A project with a hundred digits, drawn small, thirty pieces of photos, and one file that is no picture."""
    folder = tmp_path_factory.mktemp("made")
    ingest("digits", folder / "all")
    samples = list(dataset.read_samples(folder / "all/00000.parquet"))[::18]
    (folder / "data").mkdir()
    tiles = [
        photo[y : y + 120, x : x + 120]
        for photo in load_sample_images().images
        for y in (0, 150, 300)
        for x in range(0, 600, 120)
    ]
    samples += [dataset.Sample("photo", f"photo/{n}.png", ((png(tile), f"photo/{n}.png"),)) for n, tile in enumerate(tiles)]
    broken = dataset.Sample("0", "0/broken.png", ((b"no picture", "0/broken.png"),))
    dataset.write_shard([*samples, broken], folder / "data/00000.parquet")
    for sample in samples:
        dataset.write_tree(sample, folder / "tree")
    measure(data=str(folder / "data"), config=MEASURE, manifest=folder / "outputs/manifest")
    embed(data=str(folder / "data"), manifest=folder / "outputs/manifest", config=EmbedConfig(**KNOBS),
          embeddings=folder / "outputs/embeddings")  # fmt: skip
    return folder


@pytest.fixture
def digits(made, tmp_path, monkeypatch) -> Path:
    """A folder where all that is there but to be looked at."""
    for name in ("tree", "outputs"):
        (tmp_path / name).symlink_to(made / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(text: str) -> list[tuple[float, str, str]]:
    """Similarity, label and source of each line."""
    lines = [line.split() for line in text.splitlines() if line.startswith("  ")]
    return [(float(line[0]), line[1], line[-1]) for line in lines]


def test_a_picture_finds_itself_first_and_others_of_its_kind(digits, capsys):
    pictures = sorted(str(path.relative_to("tree")) for path in Path("tree").glob("?/*.png"))
    right = []
    for source in pictures[::20]:
        assert main(["similar", f"tree/{source}", "-k", "4"]) == 0
        near = found(capsys.readouterr().out)
        assert near[0][0] == pytest.approx(1, abs=2e-3)
        assert near[0][2] == source
        assert len(near) == 4
        right += [label == source.split("/")[0] for _, label, _ in near[1:]]
    assert np.mean(right) > 0.5  # of ten classes


def test_what_was_made_of_a_picture_finds_it_first(digits, capsys):
    for number in (2, 12, 25):
        photo = Image.open(f"tree/photo/{number}.png")
        photo.save("saved.jpg")
        ImageOps.mirror(photo).save("mirror.jpg")
        photo.resize((300, 300)).save("grown.png")
        photo.crop((6, 6, 116, 112)).save("crop.jpg")
        assert main(["similar", "saved.jpg", "mirror.jpg", "grown.png", "crop.jpg", "-k", "2"]) == 0
        sources = [source for _, _, source in found(capsys.readouterr().out)]
        assert sources[:6:2] == 3 * [f"photo/{number}.png"]
        assert f"photo/{number}.png" in sources[6:]


def test_samples_are_asked_for_by_id_or_source_without_loading_a_network(digits, capsys, monkeypatch):
    source = sorted(str(path.relative_to("tree")) for path in Path("tree/7").rglob("*.png"))[0]
    sample = dataset.Sample("7", source, ((Path(f"tree/{source}").read_bytes(), source),))
    monkeypatch.setattr("components.embed.network.again", None)
    assert main(["similar", source, sample.id, "-k", "2"]) == 0
    near = found(capsys.readouterr().out)
    assert near[:2] == near[2:]
    assert near[0][2] == source


def test_a_sheet_shows_them_and_never_replaces_a_picture(digits, capsys):
    source = sorted(str(path) for path in Path("tree/1").rglob("*.png"))[0]
    assert main(["similar", source, source.removeprefix("tree/"), "-k", "3", "--sheet", "sheet.png"]) == 0
    assert Image.open("sheet.png").width > 300
    Image.new("L", (9, 9)).save("mine.png")
    assert main(["similar", source, "--sheet", "mine.png"]) == 2
    assert "mine.png: holds something that darkroom did not write" in capsys.readouterr().err


def test_more_than_there_are_is_all_of_them(digits, capsys):
    assert main(["similar", str(next(Path("tree").rglob("*.png"))), "-k", "1000"]) == 0
    assert len(found(capsys.readouterr().out)) == 100 + 30


def changed(folder: Path, **facts: object) -> None:
    """Other embeddings in place of the link to those that are there."""
    about = json.loads(Path("outputs/embeddings/embeddings.json").read_text())
    folder.mkdir()
    for file in Path("outputs/embeddings").glob("*.*"):
        (folder / file.name).symlink_to(file.resolve())
    (folder / "embeddings.json").unlink()
    (folder / "embeddings.json").write_text(json.dumps(about | facts))


@pytest.mark.parametrize(
    ("asked", "facts", "told"),
    [
        (["nowhere.png"], {}, "nowhere.png: no such file, and no id or source of a sample in changed"),
        (["0/broken.png"], {}, "0/broken.png: has no vector, since it does not decode"),
        (["note.txt"], {}, "note.txt: does not decode (plain text); expected a PNG or JPEG"),
        (["picture.png"], {"network": "none"}, "changed: is empty; set the knob embed.network to efficientnet-lite0"),
        (["picture.png"], {"sha256": "0" * 64}, "changed: made by another network (efficientnet-lite0 000000000000..., here is 5793"),
        (["picture.png"], {"network": "resnet"}, "no network 'resnet' here, expected one of: efficientnet-lite0"),
        (["picture.png"], {"network": "cnn", "model": "models/cnn"}, "models/cnn/run.json: no such file"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_told_in_a_line(digits, capsys, asked, facts, told):
    Image.new("RGB", (30, 30), "red").save("picture.png")
    Path("note.txt").write_text("hello")
    changed(Path("changed"), **facts)
    assert main(["similar", *asked, "--embeddings", "changed"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_folder_without_embeddings_says_what_makes_them(digits, capsys):
    assert main(["similar", "x.png", "--embeddings", "tree"]) == 2
    assert "tree/embeddings.json: no such file; `dvc repro` makes it" in capsys.readouterr().err


def test_a_picture_of_many_pixels_is_refused_before_it_is_decoded(digits, capsys):
    buffer = io.BytesIO()
    Image.new("1", (30_000, 5_000)).save(buffer, "PNG")
    Path("large.png").write_bytes(buffer.getvalue())
    assert main(["similar", "large.png"]) == 2
    assert "large.png: does not decode (" in capsys.readouterr().err

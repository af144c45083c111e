"""`darkroom predict`: every picture is a row, answered as the package answers its pixels, in order, whatever happens on the way."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import draw_clips, draw_stills, png
from PIL import Image
from toy_package import make_package

from components.predict import lots
from components.predict.step import predict
from components.shared.data import dataset
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun
from components.shared.models import package
from components.shared.models.observed import COLUMNS
from components.shared.models.recogniser import Recogniser
from components.shared.pictures.preprocessing import Preprocessing


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    """A package, in a folder to work in; this process does the work."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_CPUS", "1")
    return make_package(tmp_path / "toy")


def rows(output: str = "a.parquet") -> list[dict]:
    return pq.read_table(output).to_pylist()


def encode(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def odd_pictures() -> dict[str, bytes]:
    """Every way in which bytes become pixels, by name."""
    rng = np.random.default_rng(5)
    photo = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8))
    turned = Image.Exif()
    turned[274] = 6
    clear = Image.fromarray(rng.integers(0, 256, (20, 20, 4), np.uint8), "RGBA")
    return {
        "a.png": encode(photo, "PNG"), "b.jpg": encode(photo, "JPEG"), "c.jpg": encode(photo, "JPEG", exif=turned),
        "d.png": encode(clear, "PNG"), "e.png": encode(photo.quantize(16), "PNG"), "f.png": encode(photo.convert("1"), "PNG"),
        "g.png": encode(Image.fromarray(rng.integers(0, 256, (12, 12), np.uint8)), "PNG"),
        "h.jpg": encode(photo.resize((900, 700)), "JPEG"),
    }  # fmt: skip


@pytest.mark.parametrize("resize", ["pad", "stretch"])
@pytest.mark.parametrize("channels", [1, 3])
def test_answers_are_those_of_the_pixels_to_the_bit(tmp_path, resize, channels):
    made = make_package(tmp_path / "other", way=Preprocessing(12, 10, channels, resize))
    Path("in").mkdir()
    for name, content in odd_pictures().items():
        Path("in", name).write_bytes(content)
    predict("other", ["in"], output=Path("a.parquet"), top=2)
    images = np.stack([made.preprocessing.sample([content]) for content in odd_pictures().values()])
    model = Recogniser(made)
    for name, row, answer, probabilities in zip(
        odd_pictures(), rows(), model.answers(images, top=2), model.probabilities(images), strict=True
    ):
        assert row["source"] == f"in/{name}"
        assert row["id"] == Sample(None, "", ((odd_pictures()[name], ""),)).id
        assert (row["label"], row["prediction_set"], row["abstained"]) == (
            answer.label,
            answer.prediction_set,
            answer.abstained,
        )
        assert np.float32(row["probability"]) == np.float32(answer.probability)
        assert [(each["label"], each["probability"]) for each in row["top"]] == answer.top
        assert np.array_equal(np.float32(row["probabilities"]), probabilities)
        assert row["fault"] is None
    about = json.loads(pq.read_schema("a.parquet").metadata[b"darkroom"])
    assert about == {"model": "toy", "version": "", "package": made.digest}


def test_what_cannot_be_answered_is_a_row_with_its_fault(capsys):
    Path("in/deep").mkdir(parents=True)
    good = odd_pictures()["a.png"]
    sixteen = encode(Image.fromarray(np.full((20, 20), 999, np.uint16)), "PNG")
    broken = {"0.png": good[:-20], "1.png": sixteen, "2.jpg": b"", "3.gif": b"GIF89a", "deep/4.png": b"<html>"}
    for name, content in broken.items():
        Path("in", name).write_bytes(content)
    for name in ("x.txt", "y", ".hidden.png"):
        Path("in", name).write_bytes(b"no picture")
    Path("in/z").write_bytes(good)
    os.mkfifo("in/pipe.png")
    Path("in/linked").symlink_to("deep")
    predict("toy", ["in"], output=Path("a.parquet"))
    found = {row["source"]: row["fault"] for row in rows()}
    assert list(found) == ["in/0.png", "in/1.png", "in/2.jpg", "in/3.gif", "in/z", "in/deep/4.png"]
    codes = [fault and fault.partition(":")[0] for fault in found.values()]
    assert codes == ["E_TRUNCATED", "E_BIT_DEPTH", "E_EMPTY", "E_FORMAT", None, "E_NOT_IMAGE"]
    assert rows()[0]["label"] is rows()[0]["features"] is None
    said = capsys.readouterr().out
    assert "1 answered" in said
    assert "5 faults, such as in/0.png: E_TRUNCATED" in said
    assert "4 other files left out" in said


def test_where_nothing_can_be_answered_the_exit_code_is_2_and_the_rows_say_why(monkeypatch):
    Path("x.png").write_bytes(b"text")
    with pytest.raises(CannotRun, match=r"0 answered.* 1 fault, such as x.png: E_NOT_IMAGE"):
        predict("toy", ["x.png"], output=Path("a.csv"))
    assert "E_NOT_IMAGE" in Path("a.csv").read_text()
    Path("empty").mkdir()
    with pytest.raises(
        CannotRun, match=r"b\.csv: not written; no picture was found, 0 other files; expected pictures, folders"
    ):
        predict("toy", ["empty"], output=Path("b.csv"))
    assert not Path("b.csv").exists()


def test_a_run_that_finds_nothing_leaves_the_answers_of_an_earlier_one():
    draw_stills(Path("in"), each=1)
    predict("toy", ["in"], output=Path("a.csv"))
    before = Path("a.csv").read_bytes()
    Path("notes").mkdir()
    Path("notes/x.txt").write_text("no picture")
    with pytest.raises(CannotRun, match="no picture was found, 1 other file"):
        predict("toy", ["notes"], output=Path("a.csv"))
    assert Path("a.csv").read_bytes() == before
    assert {path.name for path in Path().glob(".a*")} == {".a.csv.lock"}


def test_order_is_that_of_the_inputs_over_processes_and_lots(monkeypatch):
    draw_stills(Path("in"), each=20)
    monkeypatch.setattr(lots, "SIZE", 7)
    predict("toy", ["in/cross", "in/bar/3.png", "in/box"], output=Path("a.jsonl"))
    monkeypatch.setenv("DARKROOM_CPUS", "2")
    predict("toy", ["in/cross", "in/bar/3.png", "in/box"], output=Path("b.jsonl"))
    alone = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    crosses, boxes = (sorted(map(str, Path("in", name).iterdir())) for name in ("cross", "box"))
    assert [row["source"] for row in alone] == [*crosses, "in/bar/3.png", *boxes]
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes()
    assert not set(alone[0]) & {name for name, _ in COLUMNS}


def packed(folder: Path, form: str) -> str:
    """The pictures of a folder as what else holds them."""
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    if form == "zip":
        with zipfile.ZipFile("in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.write(name, name.relative_to(folder))
        return "in.zip"
    if form == "tar":
        with tarfile.open("in.tar", "w") as archive:
            for name in names:
                archive.add(name, name.relative_to(folder))
        return "in.tar"
    if form == "store":
        store = fsspec.filesystem("memory")
        for name in names:
            store.pipe(f"/bucket/in/{name.relative_to(folder)}", name.read_bytes())
        return "memory://bucket/in"
    Path("data").mkdir()
    samples = [Sample(None, str(name.relative_to(folder)), ((name.read_bytes(), name.name),)) for name in names]
    dataset.write_shard(samples[:10], Path("data/00000.parquet"))
    dataset.write_shard(samples[10:], Path("data/00001.parquet"))
    return "data"


@pytest.mark.parametrize("form", ["zip", "tar", "store", "shards"])
def test_archives_stores_and_shards_are_answered_as_the_folder_is(form, monkeypatch):
    monkeypatch.setattr(lots, "SIZE", 7)
    folder = draw_stills(Path("in"), each=5)
    Path("in/[1] *.png").write_bytes(odd_pictures()["a.png"])
    Path("in/bar/empty.png").write_bytes(b"")
    predict("toy", ["in"], output=Path("a.parquet"))
    named = packed(folder, form)
    predict("toy", [named], output=Path("b.parquet"), sort_into=Path("sorted"))
    key = "id"
    expected = {row[key]: row | {"source": ""} for row in rows()}
    assert {row[key]: row | {"source": ""} for row in rows("b.parquet")} == expected
    assert len(list(Path("sorted").rglob("*.png"))) == len(expected) - 1
    if form != "shards":
        assert {row["source"] for row in rows("b.parquet")} == {f"{named}{row['source'][2:]}" for row in rows()}


def test_a_damaged_member_of_an_archive_is_a_fault_of_its_own():
    good = odd_pictures()["a.png"]
    with zipfile.ZipFile("in.zip", "w") as archive:
        for name in ("damaged.png", "good.png", "locked.png"):
            archive.writestr(name, good)
        archive.writestr("notes.parquet", "a person's own")
    content = bytearray(Path("in.zip").read_bytes())
    content[content.index(good) + 100] ^= 1
    locked = content.rindex(b"locked.png") - 46  # its entry in the directory, whose flags say that it is encrypted
    content[locked + 8] |= 1
    Path("in.zip").write_bytes(content)
    predict("toy", ["in.zip"], output=Path("a.parquet"))
    found = {row["source"]: row["fault"] for row in rows()}
    assert list(found) == ["in.zip/damaged.png", "in.zip/good.png", "in.zip/locked.png"]
    assert found["in.zip/good.png"] is None
    assert found["in.zip/damaged.png"].startswith("E_UNREADABLE: Bad CRC-32")
    assert "encrypted" in found["in.zip/locked.png"]
    Path("in.zip").write_bytes(content[:-30])
    with pytest.raises(CannotRun, match=r"in\.zip: .*is the archive whole\?"):
        predict("toy", ["in.zip"], output=Path("a.parquet"))


@pytest.mark.parametrize("packing", ["folder", "zip"])
@pytest.mark.parametrize("damage", ["cut", "rows"])
def test_a_damaged_shard_is_a_fault_and_the_others_are_answered(damage, packing):
    packed(draw_stills(Path("in"), each=5), "shards")
    predict("toy", ["data"], output=Path("a.parquet"))
    whole, first = rows(), Path("data/00000.parquet")
    pq.write_table(pa.table({"a": [1]}), "data/notes.parquet")
    content = bytearray(first.read_bytes())
    if damage == "rows":
        about = pq.read_metadata(first).row_group(0)
        columns = {about.column(number).path_in_schema: about.column(number) for number in range(about.num_columns)}
        start = columns["frames.list.element.bytes"].data_page_offset
        content[start : start + 50] = bytes(50)
    first.write_bytes(content[:-40] if damage == "cut" else content)
    if packing == "zip":
        shutil.make_archive("data", "zip", "data")
    named = {"folder": "data", "zip": "data.zip"}[packing]
    predict("toy", [named], output=Path("b.parquet"))
    found = rows("b.parquet")
    (fault,) = (row for row in found if row["fault"])
    assert fault["source"] == f"{named}/00000.parquet"
    expected = "a damaged Parquet file" if damage == "cut" else "of rows 0 to 9: "
    assert fault["fault"].startswith(f"E_UNREADABLE: {expected}")
    assert [row for row in found if not row["fault"]] == whole[10:]


def test_shards_in_a_store_are_read_there():
    packed(draw_stills(Path("in"), each=5), "shards")
    store = fsspec.filesystem("memory")
    store.put("data", "/lake", recursive=True)
    predict("toy", ["memory://lake"], output=Path("a.parquet"))
    predict("toy", ["data"], output=Path("b.parquet"))
    assert rows() == rows("b.parquet")
    assert len(rows()) == 15
    store.pipe("/lake/a.png", odd_pictures()["a.png"])
    predict("toy", ["memory://lake/a.png"], output=Path("a.parquet"))
    assert [row["source"] for row in rows()] == ["memory://lake/a.png"]


def test_a_folder_of_frames_is_a_clip(tmp_path):
    made = make_package(tmp_path / "clips", way=Preprocessing(12, 12, 3, "pad", time=5))
    folder = draw_clips(Path("in"), each=2)
    for number in range(11):
        path = Path(f"in/left/long/{number}.png")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(np.full((16, 16, 3), 20 * number, np.uint8)))
    Path("in/left/notes.txt").write_text("not a clip")
    Path("in/left/clip0/Thumbs.db").write_text("not a frame")
    Path("in/right/broken").mkdir()
    for number, content in enumerate([odd_pictures()["g.png"], b"text"]):
        Path(f"in/right/broken/{number}.png").write_bytes(content)
    predict("clips", ["in"], output=Path("a.parquet"), sort_into=Path("sorted"))
    found = {row["source"]: row for row in rows()}
    assert list(found) == [
        f"in/{path}" for path in ("left/clip0", "left/clip1", "left/long", "right/broken", "right/clip0", "right/clip1")
    ]
    assert found["in/right/broken"]["fault"].startswith("E_NOT_IMAGE")
    frames = [(folder / f"left/long/{number}.png").read_bytes() for number in range(11)]
    answer = Recogniser(made).answers(made.preprocessing.sample(frames)[None])[0]
    assert found["in/left/long"]["label"] == answer.label
    assert found["in/left/long"]["id"] == Sample(None, "", [(frame, "") for frame in frames]).id
    (place,) = Path("sorted").glob("*/left/long")
    assert len(list(place.iterdir())) == 11


def test_killed_it_goes_on_where_it_was(toy):
    folder = draw_stills(Path("in"), each=3)
    content = (folder / "bar/0.png").read_bytes()
    for number in range(6000):
        Path(f"in/box/{number:05}.png").write_bytes(content)
    command = [sys.executable, "-m", "components", "predict", "toy", "in", "--output", "a.parquet"]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    parts = Path(".a.parquet.parts.tmp")
    while process.poll() is None and len(list(parts.glob("*[0-9a-f]"))) < 4:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {part: part.stat().st_mtime_ns for part in parts.iterdir()}
    assert len(kept) >= 4
    assert not Path("a.parquet").exists()
    (damaged, *_) = (part for part in kept if not part.name.startswith("."))
    damaged.write_bytes(damaged.read_bytes()[:100])
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before = int(done.stdout.split("; ")[-1].split()[0].replace(",", ""))
    assert 256 <= before < 6009
    predict("toy", ["in"], output=Path("b.parquet"))
    assert rows() == rows("b.parquet")
    assert {path.name for path in Path().glob(".a*")} == {".a.parquet.lock"}


def test_other_pictures_models_and_options_are_answered_anew(tmp_path):
    make_package(tmp_path / "other", seed=9)
    draw_stills(Path("in"), each=2)
    whole = lots.lots(lots.places(["in"]), clips=False)
    (before,) = whole
    os.utime("in/bar/1.png", ns=(1, 1))
    (after,) = lots.lots(lots.places(["in"]), clips=False)
    assert before != after


def test_a_spreadsheet_takes_no_label_for_a_formula(tmp_path):
    make_package(tmp_path / "formulas", classes=["=1+1", "@x", "-2"])
    Path("in").mkdir()
    Path("in/=cmd.png").write_bytes(odd_pictures()["a.png"])
    os.chdir("in")
    predict("../formulas", ["=cmd.png"], output=Path("../a.csv"))
    (row,) = csv.DictReader(Path("../a.csv").read_text().splitlines())
    assert row["source"] == "'=cmd.png"
    assert row["label"][:2] in ("'=", "'@", "'-")
    assert json.loads(row["top"])[0]["label"] == row["label"][1:]


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_only_answers_are_overwritten(ending):
    draw_stills(Path("in"), each=1)
    output = Path(f"a{ending}")
    output.write_text("a,b\n1,2\n")
    with pytest.raises(CannotRun, match="darkroom did not write"):
        predict("toy", ["in"], output=output)
    assert output.read_text() == "a,b\n1,2\n"
    output.unlink()
    for _ in range(2):
        predict("toy", ["in"], output=output)
    assert sorted(path.name for path in Path().iterdir()) == sorted([f".{output.name}.lock", output.name, "in", "toy"])


def test_what_cannot_be_read_as_it_is_is_refused_at_once():
    Path("film.mp4").write_bytes(b"")
    with pytest.raises(CannotRun) as refused:
        predict("toy", ["film.mp4", "nowhere"], output=Path("a.csv"))
    assert len(refused.value.faults) == 2
    assert "`darkroom ingest` it" in refused.value.faults[0]
    with pytest.raises(CannotRun, match=r"ends in \.parquet, \.csv, \.jsonl"):
        predict("toy", ["film.mp4"], output=Path("a.txt"))
    with pytest.raises(CannotRun, match=r"secretless://x: .* are the address and its credentials right"):
        predict("toy", ["secretless://x"], output=Path("a.csv"))
    Path("toy", package.MODEL).write_bytes(b"other")
    draw_stills(Path("in"), each=1)
    with pytest.raises(CannotRun, match="is not what was packaged"):
        predict("toy", ["in"], output=Path("a.csv"))

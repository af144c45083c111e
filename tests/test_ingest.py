import gzip
import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import draw_clips, draw_stills, drawing, png
from PIL import Image

from components.ingest import named
from components.ingest.export import export
from components.ingest.step import ingest
from components.shared.data import dataset
from components.shared.errors import CannotRun, Refused
from components.shared.pictures.decode import decode


def samples(data: Path) -> list[dataset.Sample]:
    return [sample for shard in dataset.shards(data) for sample in dataset.read_samples(shard)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(kind, *arguments, **options) -> str:
    with pytest.raises(kind) as caught:
        ingest(*map(str, arguments[:1]), *arguments[1:], **options)
    return str(caught.value)


def test_a_folder_per_class_of_stills_and_back(stills, tmp_path, capsys):
    data = tmp_path / "data"
    ingest(str(stills), data)
    assert "samples   90 stills in 3 classes\n" in capsys.readouterr().out
    assert {sample.label for sample in samples(data)} == {"bar", "box", "cross"}
    export(data, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(stills)


def test_it_says_what_to_run_next_for_the_folder_at_hand(stills, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for project, data, wanted in (
        (False, "data", "darkroom measure --data data --config measure --manifest outputs/manifest"),
        (True, "data", "dvc add data && dvc repro"),
        (True, "other pictures", "darkroom measure --data 'other pictures' --config measure --manifest outputs/manifest"),
    ):
        if project:
            Path("dvc.yaml").touch()
        ingest(str(stills), Path(data))
        assert capsys.readouterr().out.endswith(f"; 1 shard, 0.1 MiB\nnext: {wanted}\n")


def test_a_folder_per_class_of_clips_with_frames_in_natural_order(tmp_path):
    clip = tmp_path / "source" / "walk" / "one"
    clip.mkdir(parents=True)
    for number in (10, 2, 1):
        (clip / f"{number}.png").write_bytes(png(drawing("box", np.random.default_rng(number))))
    ingest(str(tmp_path / "source"), tmp_path / "data")
    (sample,) = samples(tmp_path / "data")
    assert [path for _, path in sample.frames] == ["walk/one/1.png", "walk/one/2.png", "walk/one/10.png"]
    assert (sample.source, sample.label) == ("walk/one", "walk")


def test_official_splits_are_kept(tmp_path):
    for split in ("train", "val", "test"):
        draw_stills(tmp_path / "source" / split, each=2)
    ingest(str(tmp_path / "source"), tmp_path / "data")
    assert {sample.split for sample in samples(tmp_path / "data")} == {"train", "validation", "test"}
    assert {sample.source.split("/")[0] for sample in samples(tmp_path / "data")} == {"train", "val", "test"}


@pytest.mark.parametrize("form", ["gif", "webp", "png"])
def test_an_animated_picture_is_a_clip(tmp_path, form):
    frames = [Image.fromarray(drawing("box", np.random.default_rng(1), at=at)) for at in (1, 4, 7)]
    folder = tmp_path / "source" / "slide"
    folder.mkdir(parents=True)
    frames[0].save(folder / f"a.{form}", save_all=True, append_images=frames[1:], lossless=True)
    ingest(str(tmp_path / "source"), tmp_path / "data")
    (sample,) = samples(tmp_path / "data")
    assert len(sample.frames) == 3
    assert all(content.startswith(b"\x89PNG") for content, _ in sample.frames)


def test_a_video_is_a_clip_thinned_evenly(tmp_path):
    import av

    folder = tmp_path / "source" / "slide"
    folder.mkdir(parents=True)
    with av.open(str(folder / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for number in range(20):
            frame = np.full((64, 64, 3), number * 10, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    ingest(str(tmp_path / "source"), tmp_path / "data", max_frames=5)
    (sample,) = samples(tmp_path / "data")
    levels = [int(np.asarray(Image.open(io.BytesIO(content))).mean()) for content, _ in sample.frames]
    assert len(levels) == 5
    assert levels == sorted(levels)
    assert levels[0] < 15
    assert levels[-1] > 175


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_csv_table(stills, tmp_path, delimiter):
    rows = ["path;label;group;split".replace(";", delimiter)]
    rows += [f"bar/{n}.png;stick;g{n % 3};{'train' if n < 20 else 'test'}".replace(";", delimiter) for n in range(30)]
    for name in ("box", "cross"):
        (stills / name).rename(tmp_path / name)
    (stills / "labels.csv").write_text("\ufeff" + "\n".join(rows), encoding="utf-8")
    ingest(str(stills), tmp_path / "data")
    found = samples(tmp_path / "data")
    assert len(found) == 30
    assert {(s.label, s.group, s.split) for s in found} == {("stick", f"g{g}", s) for g in range(3) for s in ("train", "test")}


def test_a_parquet_table_with_clips_in_the_order_of_their_frame_numbers(clips, tmp_path):
    frames = sorted((clips / "left" / "clip0").iterdir())
    numbers = list(range(len(frames)))[::-1]
    table = pd.DataFrame({"path": [f"left/clip0/{f.name}" for f in frames], "label": "left", "clip": "one", "frame": numbers})
    table.to_parquet(clips / "table.parquet")
    ingest(str(clips / "table.parquet"), tmp_path / "data")
    (sample,) = samples(tmp_path / "data")
    assert [content for content, _ in sample.frames] == [frame.read_bytes() for frame in reversed(frames)]


def test_a_table_refuses_all_its_bad_rows_together(stills, tmp_path):
    (stills / "t.csv").write_text(
        "path,label\nbar/0.png,\nbar/99.png,bar\n../x.png,bar\nbar/1.png,bar\nbar/1.png,bar\n/etc/hosts,bar\n"
    )
    lines = refusal(Refused, stills / "t.csv", tmp_path / "data").splitlines()
    assert [line.split()[0] for line in lines] == [
        "E_LABEL_EMPTY", "E_MISSING_FILE", "E_PATH_OUTSIDE", "E_DUPLICATE_ROW", "E_PATH_OUTSIDE",
    ]  # fmt: skip
    assert "t.csv line 2" in lines[0]
    (stills / "r.csv").write_text("path,label\nbar/0.png,bar,extra\n")
    assert "E_CSV" in refusal(Refused, stills / "r.csv", tmp_path / "data")
    (stills / "l.csv").write_bytes("path,label\nbar/0.png,caf\xe9\n".encode("latin-1"))
    assert "l.csv line 2: not UTF-8" in refusal(Refused, stills / "l.csv", tmp_path / "data")


def idx(array: np.ndarray) -> bytes:
    return struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_idx_pairs(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    pictures = np.random.default_rng(0).integers(0, 256, (7, 9, 11), dtype=np.uint8)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pictures)))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(7, dtype=np.uint8))))
    ingest(str(folder), tmp_path / "data")
    found = samples(tmp_path / "data")
    assert [sample.label for sample in found] == list("0123456")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(found[3].frames[0][0]))), pictures[3])
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pictures)[:-5]))
    assert "cut short" in refusal(CannotRun, folder, tmp_path / "data")


def test_npz_of_stills_and_of_clips(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "s.npz", x_train=rng.integers(0, 256, (6, 9, 9, 3), dtype=np.uint8), y_train=np.arange(6) % 2,
             x_test=rng.integers(0, 256, (2, 9, 9, 3), dtype=np.uint8), y_test=[0, 1])  # fmt: skip
    ingest(str(tmp_path / "s.npz"), tmp_path / "data")
    assert [sample.split for sample in samples(tmp_path / "data")] == ["train"] * 6 + ["test"] * 2
    clips = rng.integers(0, 256, (4, 5, 9, 9, 1), dtype=np.uint8)
    np.savez(tmp_path / "c.npz", images=clips, labels=["a", "b", "a", "b"])
    ingest(str(tmp_path / "c.npz"), tmp_path / "clips")
    assert [len(sample.frames) for sample in samples(tmp_path / "clips")] == [5] * 4


def test_npz_is_refused_when_it_holds_objects_or_floats(tmp_path):
    np.savez(tmp_path / "o.npz", images=np.array([{}, {}], dtype=object), labels=[0, 1])
    assert "E_PICKLE" in refusal(Refused, tmp_path / "o.npz", tmp_path / "data")
    np.savez(tmp_path / "f.npz", images=np.zeros((2, 9, 9)), labels=[0, 1])
    assert "E_RANGE" in refusal(Refused, tmp_path / "f.npz", tmp_path / "data")


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_an_archive_of_a_tree(stills, tmp_path, form):
    import shutil

    name = shutil.make_archive(str(tmp_path / "a"), {"zip": "zip", "tar.gz": "gztar"}[form], tmp_path, "stills")
    ingest(name, tmp_path / "data")
    assert len(samples(tmp_path / "data")) == 90


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("../../evil.png", b"x")
    assert "E_PATH_OUTSIDE" in refusal(Refused, tmp_path / "z.zip", tmp_path / "data")
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        link = tarfile.TarInfo("cats/passwd.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert "E_PATH_OUTSIDE" in refusal(Refused, tmp_path / "t.tar", tmp_path / "data")
    assert not (tmp_path.parent / "evil.png").exists()


def test_a_bomb_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/a.png", b"\0" * 200_000_000)
    assert "E_TOO_LARGE" in refusal(Refused, tmp_path / "z.zip", tmp_path / "data")


def test_the_same_input_is_the_same_bytes(stills, tmp_path):
    ingest(str(stills), tmp_path / "one", shard_samples=40)
    ingest(str(stills), tmp_path / "two", shard_samples=40)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert sorted(contents(tmp_path / "one")) == ["00000.parquet", "00001.parquet", "00002.parquet"]


def test_shards_are_closed_by_size_too(tmp_path):
    draw_stills(tmp_path / "s", each=10, size=400)
    ingest(str(tmp_path / "s"), tmp_path / "data", shard_mebibytes=1)
    assert len(dataset.shards(tmp_path / "data")) > 3


def test_adding_pictures_leaves_old_shards_as_they_are(stills, tmp_path, capsys):
    data = tmp_path / "data"
    ingest(str(stills), data, shard_samples=40)
    before = contents(data)
    (stills / "bar" / "new.png").write_bytes(png(drawing("bar", np.random.default_rng(99))))
    ingest(str(stills), data, shard_samples=40)
    after = contents(data)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1
    assert "1 new, 90 unchanged, 0 gone" in capsys.readouterr().out


def test_nothing_is_dropped_unless_told(stills, tmp_path):
    data = tmp_path / "data"
    ingest(str(stills), data, shard_samples=40)
    before = contents(data)
    (stills / "bar" / "0.png").unlink()
    assert "--add keeps them, --replace drops them" in refusal(CannotRun, stills, data)
    assert contents(data) == before
    ingest(str(stills), data, add=True)
    assert contents(data) == before
    ingest(str(stills), data, replace=True)
    assert len(samples(data)) == 89
    assert sum(contents(data)[name] == before[name] for name in before) == 2


def test_groups_come_from_paths_by_a_pattern(stills, tmp_path):
    ingest(str(stills), tmp_path / "data", group=r"/(\d)")
    assert {sample.group for sample in samples(tmp_path / "data")} == set("0123456789")
    assert "not a usable regular expression" in refusal(CannotRun, stills, tmp_path / "x", group="(")
    assert "E_GROUP" in refusal(Refused, stills, tmp_path / "x", group="(zebra)")


def test_what_is_nothing_or_ambiguous_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "E_NO_DATA" in refusal(Refused, tmp_path / "empty", tmp_path / "data")
    assert "no such file or folder" in refusal(CannotRun, tmp_path / "nowhere", tmp_path / "data")
    loose = tmp_path / "loose"
    loose.mkdir()
    (loose / "a.png").write_bytes(png(drawing("box", np.random.default_rng(0))))
    assert "pictures without labels" in refusal(CannotRun, loose, tmp_path / "data")
    unclear = tmp_path / "unclear"
    draw_stills(unclear / "cats", each=2)
    draw_stills(unclear / "dogs", each=2)
    for file in (unclear / "cats" / "bar").iterdir():
        file.rename(file.with_name("abc"[int(file.stem)] + ".png"))
    assert "say --kind clips or --kind stills" in refusal(Refused, unclear, tmp_path / "data")
    ingest(str(unclear), tmp_path / "data", kind="stills")
    assert not (tmp_path / "data" / "00001.parquet").exists()


def test_links_out_of_the_source_and_special_files_are_refused(stills, tmp_path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"x")
    (stills / "bar" / "out.png").symlink_to(outside)
    (stills / "bar" / "broken.png").symlink_to(tmp_path / "nowhere")
    (stills / "bar" / "loop.png").symlink_to(stills / "bar" / "loop.png")
    (stills / "bar" / "folder").symlink_to(stills)
    os.mkfifo(stills / "bar" / "pipe.png")
    told = refusal(Refused, stills, tmp_path / "data")
    assert sorted(line.split()[0] for line in told.splitlines()) == [
        "E_PATH_OUTSIDE", "E_SPECIAL_FILE", "E_SYMLINK", "E_SYMLINK", "E_SYMLINK",
    ]  # fmt: skip
    assert not (tmp_path / "data").exists()


def test_strange_names_are_text_and_nothing_else(tmp_path):
    folder = tmp_path / "source" / "$(touch x);-rf"
    folder.mkdir(parents=True)
    names = ["\u00e9.png", "e\u0301.png", "\U0001f600.png", "line\nbreak.png", "-n.png", "a b.png"]
    for number, name in enumerate(names):
        (folder / name).write_bytes(png(drawing("box", np.random.default_rng(number))))
    ingest(str(tmp_path / "source"), tmp_path / "data")
    assert {sample.source.split("/")[1] for sample in samples(tmp_path / "data")} == set(names)
    (folder / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    assert "E_NAME" in refusal(Refused, tmp_path / "source", tmp_path / "data")


def test_a_shard_with_a_path_that_leads_out_is_not_exported(tmp_path):
    sample = dataset.Sample("a", "a.png", ((b"x", "../../evil.png"),))
    (tmp_path / "data").mkdir()
    dataset.write_shard([sample], tmp_path / "data" / "00000.parquet")
    with pytest.raises(Refused, match="E_PATH_OUTSIDE"):
        export(tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_digits_need_no_download(tmp_path):
    ingest("digits", tmp_path / "data")
    assert len(samples(tmp_path / "data")) == 1797


def test_fashion_mnist_says_every_way_that_was_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(named, "DEBIAN_FOLDER", tmp_path / "nowhere")
    monkeypatch.setattr(named, "KERAS_ORIGIN", "http://127.0.0.1:9/")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    told = refusal(CannotRun, "fashion-mnist", tmp_path / "data")
    assert [line.strip().split(":")[0] for line in told.splitlines()[1:4]] == [
        "local copy", "Keras's download", "Debian's package dataset-fashion-mnist",
    ]  # fmt: skip


def test_a_changed_copy_of_fashion_mnist_is_not_used(tmp_path, monkeypatch):
    for name in named.FASHION_FILES:
        (tmp_path / name).write_bytes(idx(np.zeros((2, 28, 28) if "images" in name else 2, np.uint8)))
    monkeypatch.setattr(named, "DEBIAN_FOLDER", tmp_path)
    monkeypatch.setattr(named, "KERAS_ORIGIN", "http://127.0.0.1:9/")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    assert "content differs from the published one" in refusal(CannotRun, "fashion-mnist", tmp_path / "data")


def test_clips_survive_export_and_a_second_ingest(tmp_path):
    draw_clips(tmp_path / "clips", each=3)
    ingest(str(tmp_path / "clips"), tmp_path / "data")
    export(tmp_path / "data", tmp_path / "back")
    ingest(str(tmp_path / "back"), tmp_path / "again")
    assert contents(tmp_path / "data") == contents(tmp_path / "again")


def test_a_folder_that_holds_anything_but_shards_is_never_replaced(stills, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    assert "holds 'thesis.txt', which darkroom did not write" in refusal(CannotRun, stills, mine)
    assert (mine / "thesis.txt").exists()
    before = contents(stills)
    assert "which darkroom did not write" in refusal(CannotRun, stills, stills)
    assert "which is read from" in refusal(CannotRun, stills, stills / "data")
    assert contents(stills) == before


def test_empty_cells_of_a_table_mean_nothing(stills, tmp_path):
    (stills / "t.csv").write_text("path,label,group,clip\nbar/0.png,none,,\nbar/1.png,none, ,\nbox/0.png,box,g,\n")
    ingest(str(stills / "t.csv"), tmp_path / "data")
    found = samples(tmp_path / "data")
    assert [(s.label, s.group, len(s.frames)) for s in found] == [("none", None, 1), ("none", None, 1), ("box", "g", 1)]
    table = pd.DataFrame({"path": ["bar/0.png", "bar/1.png", None], "label": ["a", "b", "c"], "clip": [None, "x", "y"]})
    table.iloc[:2].to_parquet(stills / "t.parquet")
    ingest(str(stills / "t.parquet"), tmp_path / "two")
    assert len(samples(tmp_path / "two")) == 2
    table.to_parquet(stills / "t.parquet")
    assert "line 4: no path" in refusal(Refused, stills / "t.parquet", tmp_path / "three")


def test_an_unknown_split_in_a_table_is_refused(stills, tmp_path):
    (stills / "t.csv").write_text("path,label,split\nbar/0.png,bar,holdout\nbox/0.png,box,train\n")
    assert "E_SPLIT" in refusal(Refused, stills / "t.csv", tmp_path / "data")


def test_splits_beside_other_folders_are_refused(tmp_path):
    for name in ("train", "test", "raw"):
        draw_stills(tmp_path / "s" / name, each=2)
    assert "splits and other folders side by side (raw)" in refusal(CannotRun, tmp_path / "s", tmp_path / "data")


def test_an_archive_with_a_top_folder_and_a_readme_is_stepped_into(stills, tmp_path, capsys):
    import shutil

    (stills / "README.txt").write_text("about")
    (stills / ".DS_Store").write_text("")
    ingest(shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path, "stills"), tmp_path / "data")
    assert "90 stills in 3 classes" in capsys.readouterr().out


def test_a_damaged_archive_is_one_line(stills, tmp_path):
    import shutil

    name = Path(shutil.make_archive(str(tmp_path / "a"), "zip", stills))
    content = bytearray(name.read_bytes())
    content[200:260] = b"\xff" * 60
    name.write_bytes(bytes(content))
    assert "cannot be unpacked" in refusal(CannotRun, name, tmp_path / "data")


def test_idx_files_tell_their_split_anywhere_in_the_name_and_must_fit_together(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for split in ("train", "test"):
        (folder / f"emnist-letters-{split}-images-idx3-ubyte").write_bytes(idx(np.full((4, 9, 9), len(split), np.uint8)))
        (folder / f"emnist-letters-{split}-labels-idx1-ubyte").write_bytes(idx(np.arange(4, dtype=np.uint8)))
    ingest(str(folder), tmp_path / "data")
    assert sorted(sample.split for sample in samples(tmp_path / "data")) == ["test"] * 4 + ["train"] * 4
    (folder / "emnist-letters-test-labels-idx1-ubyte").write_bytes(idx(np.arange(3, dtype=np.uint8)))
    assert "4 pictures but 3 labels" in refusal(Refused, folder, tmp_path / "two")


@pytest.mark.parametrize("ending", ["mpo", "MPO", "jfif", "jpe"])
def test_whatever_ending_cameras_give_to_a_jpeg_it_is_taken(tmp_path, ending):
    for label in "ab":
        (tmp_path / "s" / label).mkdir(parents=True)
        for number in range(3):
            first, second = (Image.fromarray(np.full((20, 20, 3), 40 * number + add, np.uint8)) for add in (20, 30))
            first.save(tmp_path / f"s/{label}/{number}.{ending}", "MPO", save_all=True, append_images=[second])
    ingest(str(tmp_path / "s"), tmp_path / "data")
    taken = samples(tmp_path / "data")
    assert len(taken) == 6
    assert {int(decode(sample.frames[0][0]).pixels.mean()) for sample in taken} == {20, 60, 100}

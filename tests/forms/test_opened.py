"""Archives as people have them: in one another, side by side in a folder, with names in the encodings of other systems."""

import gzip
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_stills, drawing, png

from components.ingest.step import ingest
from components.shared.data import dataset
from components.shared.errors import CannotRun, Refused, Stop

PICTURE = png(drawing("box", np.random.default_rng(0)))


def zipped(file: Path, files: dict[str, bytes], *, flagged: bool = True, system: int = 3, encoding: str = "utf-8") -> Path:
    """A zip as systems write it: with or without the flag that its names are UTF-8."""
    with zipfile.ZipFile(file, "w") as content:
        for number, (name, data) in enumerate(files.items()):
            info = zipfile.ZipInfo(f"{number:04}" + "x" * (len(name.encode(encoding)) - 4) if not flagged else name)
            info.create_system = system
            content.writestr(info, data)
    if not flagged:
        raw = file.read_bytes()
        for number, name in enumerate(files):
            raw = raw.replace(f"{number:04}".encode() + b"x" * (len(name.encode(encoding)) - 4), name.encode(encoding))
        file.write_bytes(raw)
    return file


def labels(source: Path, data: Path, **options) -> dict[str, str]:
    """Where each sample came from -> its label."""
    ingest(str(source), data, **options)
    return {sample.source: sample.label for shard in dataset.shards(data) for sample in dataset.read_samples(shard)}


def refusal(source: Path, data: Path, **options) -> str:
    with pytest.raises(Stop) as caught:
        ingest(str(source), data, **options)
    assert not data.exists()
    assert "/darkroom-" not in str(caught.value), "our scratch folder is nobody's business"
    return str(caught.value)


def test_a_folder_of_archives_is_unpacked_side_by_side_and_stays_as_it_is(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    draw_stills(tmp_path / "tree/train", each=2)
    draw_stills(tmp_path / "tree/test", each=1)
    shutil.make_archive(str(source / "train"), "zip", tmp_path / "tree", "train")  # with a folder train/ in it
    shutil.make_archive(str(source / "test"), "gztar", tmp_path / "tree/test")  # without
    before = sorted(source.rglob("*"))
    ingest(str(source), tmp_path / "data")
    made = [sample for shard in dataset.shards(tmp_path / "data") for sample in dataset.read_samples(shard)]
    assert {(sample.split, sample.label) for sample in made} == {(split, label) for split in ("train", "test")
                                                                for label in ("bar", "box", "cross")}  # fmt: skip
    assert sorted(source.rglob("*")) == before


def test_archives_in_an_archive_and_the_table_beside_them(tmp_path):
    inner = zipped(tmp_path / "pictures.zip", {"1.png": PICTURE, "2.png": PICTURE + b"2"}).read_bytes()
    table = b"path,label\npictures/1.png,cat\npictures/2.png,dog\n"
    outer = zipped(tmp_path / "all.zip", {"all/pictures.zip": inner, "all/labels.csv": table})
    assert labels(outer, tmp_path / "data") == {"pictures/1.png": "cat", "pictures/2.png": "dog"}


def test_an_archive_beside_pictures_is_left_out_not_unpacked(tmp_path, capsys):
    source = draw_stills(tmp_path / "source", each=2)
    zipped(source / "train.zip", {"cat/1.png": PICTURE})
    assert set(labels(source, tmp_path / "data").values()) == {"bar", "box", "cross"}
    assert "'train.zip'" in capsys.readouterr().out


def test_an_archive_beside_larger_files_is_left_as_it_is(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    zipped(source / "scripts.zip", {"a.py": b"1"})
    np.savez(source / "arrays.npz", images=np.zeros((4, 600, 600), np.uint8), labels=np.arange(4) % 2)
    assert set(labels(source, tmp_path / "data").values()) == {"0", "1"}


def test_faults_name_the_archive_and_the_member(tmp_path):
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as content:
        link = tarfile.TarInfo("cat/1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        content.addfile(link)
    outer = zipped(tmp_path / "outer.zip", {"train.tar": inner.getvalue()})
    assert refusal(outer, tmp_path / "data").startswith(f"E_PATH_OUTSIDE {outer}/train.tar: ")
    twice = zipped(tmp_path / "twice.zip", {"train.tar": b"", "train.zip": b"", "x.csv": b"path,label\n"})
    assert f"{twice}/train.tar: cannot be unpacked" in refusal(twice, tmp_path / "data")
    table = zipped(tmp_path / "table.zip", {"labels.csv": b"path,label\n2.png,a\n", "x/1.png": PICTURE})
    assert f"{table}/labels.csv" in refusal(table, tmp_path / "data", form="table")


def test_archives_without_end_in_one_another_are_refused(tmp_path):
    content = PICTURE
    for depth in range(6):
        content = zipped(tmp_path / "z.zip", {("1.png" if depth == 0 else "z.zip"): content}).read_bytes()
    assert "archives in archives in archives" in refusal(tmp_path / "z.zip", tmp_path / "data")


def test_a_bomb_of_archives_in_an_archive_has_one_allowance(tmp_path, monkeypatch):
    monkeypatch.setattr("components.ingest.archive.FREE_ALLOWANCE", 2**20)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("a/1.png", bytes(2**19))
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as content:
        for number in range(4):
            content.writestr(f"{number}.zip", packed.getvalue())
    assert "E_TOO_LARGE" in refusal(tmp_path / "b.zip", tmp_path / "data")


@pytest.mark.parametrize(
    ("magic", "what"), [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07\0", "RAR"), (b"\x28\xb5\x2f\xfd", "zstd")]
)
def test_other_archives_are_refused_by_their_name(tmp_path, magic, what):
    (tmp_path / "source").mkdir()
    for name in ("pictures.7z", "pictures.zip", "pictures"):
        file = tmp_path / "source" / name
        file.write_bytes(magic + bytes(99))
        assert f"{what}, which is not read; unpack it" in refusal(file, tmp_path / "data").replace(" archive", "")
    assert "which is not read" in refusal(tmp_path / "source", tmp_path / "data")


def test_a_packed_table_is_refused_by_its_name(tmp_path):
    file = tmp_path / "labels.csv.gz"
    file.write_bytes(gzip.compress(b"path,label\n"))
    assert refusal(file, tmp_path / "data").startswith(f"{file}: packed by gzip, which is not read; unpack it")


JAPANESE = {"学習データ/表示/1.png": "表示", "学習データ/能力/2.png": "能力", "学習データ/ソース/3.png": "ソース"}


def test_names_of_a_zip_in_another_encoding_are_detected_all_together(tmp_path, capsys):
    """Three of these names hold the byte of a backslash in Shift-JIS; the zip is of Windows, where that byte is a separator."""
    files = {name: PICTURE + bytes([number]) for number, name in enumerate(JAPANESE)}
    source = zipped(tmp_path / "j.zip", files, flagged=False, system=0, encoding="cp932")
    assert set(labels(source, tmp_path / "data").values()) == set(JAPANESE.values())
    assert "read as cp932" in capsys.readouterr().out


def test_names_that_are_utf_8_without_the_flag_are_read_as_such(tmp_path, capsys):
    files = {"Käfer/1.png": PICTURE, "犬/2.png": PICTURE + b"2"}
    source = zipped(tmp_path / "m.zip", files, flagged=False)
    assert set(labels(source, tmp_path / "data").values()) == {"Käfer", "犬"}
    assert "encoding" not in capsys.readouterr().out


def test_names_that_could_be_of_two_encodings_are_for_a_person_to_say(tmp_path):
    files = {"狗/1.png": PICTURE, "猫/2.png": PICTURE + b"2"}
    source = zipped(tmp_path / "g.zip", files, flagged=False, encoding="gb18030")
    told = refusal(source, tmp_path / "data")
    assert f"{source}: does not say" in told
    assert "gb18030 for '狗'" in told
    assert "cp949 for '뭍'" in told
    assert set(labels(source, tmp_path / "data", name_encoding="gbk").values()) == {"狗", "猫"}
    assert "is not utf-8" in refusal(source, tmp_path / "d", name_encoding="utf-8")
    assert "no such encoding" in refusal(source, tmp_path / "d", name_encoding="klingon")


def test_backslashes_of_windows_are_folders_and_those_of_unix_are_letters(tmp_path):
    files = {"cat\\1.png": PICTURE, "dog\\2.png": PICTURE + b"2"}
    assert set(labels(zipped(tmp_path / "w.zip", files, system=0), tmp_path / "data").values()) == {"cat", "dog"}
    unix = zipped(tmp_path / "u.zip", {"a/cat\\1.png": PICTURE, "b/2.png": PICTURE + b"2"})
    assert set(labels(unix, tmp_path / "unix")) == {"a/cat\\1.png", "b/2.png"}
    with pytest.raises(Refused, match="leaves the archive"):
        ingest(str(zipped(tmp_path / "x.zip", {"..\\..\\1.png": PICTURE}, system=0)), tmp_path / "x")


def test_what_a_mac_packs_beside_the_pictures_is_no_class(tmp_path):
    files = {"set/cat/1.png": PICTURE, "set/dog/2.png": PICTURE + b"2", "__MACOSX/set/cat/._1.png": b"\0\5\x16\7"}
    assert set(labels(zipped(tmp_path / "m.zip", files), tmp_path / "data").values()) == {"cat", "dog"}


def test_a_damaged_member_is_named(tmp_path):
    source = zipped(tmp_path / "d.zip", {"cat/1.png": PICTURE, "dog/2.png": PICTURE})
    raw = bytearray(source.read_bytes())
    raw[raw.rindex(PICTURE) + 20] ^= 1
    source.write_bytes(raw)
    with pytest.raises(CannotRun, match=r"d\.zip: cannot be unpacked .*dog/2\.png"):
        ingest(str(source), tmp_path / "data")

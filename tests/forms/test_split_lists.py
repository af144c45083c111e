"""Class folders of videos with the lists of UCF101, HMDB51 and Food-101."""

from pathlib import Path

from components.ingest.source import Entry, LeftOut
from forms.conftest import read, refused, told


def ucf(root: Path, *, folder: str = "UCF-101") -> Path:
    """Two classes of two recordings; the videos are not opened, so they are no more than names."""
    for label in ("Archery", "HandstandPushups"):
        (root / folder / label).mkdir(parents=True)
        name = label.replace("stand", "Stand")
        for group, clip in ((1, 1), (1, 2), (2, 1)):
            (root / folder / label / f"v_{name}_g{group:02d}_c{clip:02d}.avi").write_bytes(b"")
    lists = root / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Archery\r\n2 HandstandPushups\r\n")
    for number, test in ((1, 2), (2, 1)):
        lines = [f"{label}/v_{label}_g{group:02d}_c{clip:02d}.avi" for label in ("Archery", "HandstandPushups")
                 for group, clip in ((1, 1), (1, 2), (2, 1))]  # fmt: skip
        (lists / f"trainlist{number:02d}.txt").write_text(
            "".join(f"{line} 1\r\n" for line in lines if f"g{test:02d}" not in line)
        )
        (lists / f"testlist{number:02d}.txt").write_text("".join(f"{line}\r\n" for line in lines if f"g{test:02d}" in line))
    return root


def entries(root: Path, **options) -> list[Entry]:
    return list(read(root, **options).source.entries(LeftOut()))


def test_ucf101_has_classes_splits_and_recordings(tmp_path, capsys):
    found = entries(ucf(tmp_path))
    assert [(each.label, each.split, each.group) for each in found] == [
        (label, split, f"{label} {group}") for label in ("Archery", "HandstandPushups")
        for split, group in (("train", "g01"), ("train", "g01"), ("test", "g02"))
    ]  # fmt: skip
    said = told(tmp_path, capsys)
    assert "splits by testlist01.txt, trainlist01.txt" in said
    assert "6 clips in 2 classes" in said
    assert "groups    4\n" in said
    assert "W_" not in said


def test_frame_folders_and_a_folder_beside_the_lists_are_found_too(tmp_path):
    root = ucf(tmp_path, folder="data/videos")
    for video in list((root / "data/videos").rglob("*.avi")):
        video.unlink()
        video.with_suffix("").mkdir()
        for number in (1, 2):
            (video.with_suffix("") / f"{number}.jpg").write_bytes(b"")
    assert [(each.split, len(each.files)) for each in entries(root)] == [("train", 2), ("train", 2), ("test", 2)] * 2


def test_what_lists_and_folders_do_not_share_is_told(tmp_path, capsys):
    root = ucf(tmp_path)
    (root / "UCF-101/Archery/v_Archery_g02_c01.avi").rename(root / "UCF-101/Archery/mine.avi")
    said = told(root, capsys)
    assert "W_UNLISTED 1: samples that the lists do not name (Archery 1), such as 'UCF-101/Archery/mine.avi'" in said
    assert "W_MISSING 1: samples that the lists name are not there, such as 'archery/v_archery_g02_c01'" in said


def test_hmdb51_says_train_test_or_neither_by_a_number(tmp_path, capsys):
    for label in ("run", "wave"):
        (tmp_path / "hmdb51_org" / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "hmdb51_org" / label / f"a film_{label}_{number}.avi").write_bytes(b"")
        (tmp_path / "splits").mkdir(exist_ok=True)
        for split in (1, 2):
            lines = (f"a film_{label}_{number}.avi {(number + split) % 3} \n" for number in range(3))
            (tmp_path / "splits" / f"{label}_test_split{split}.txt").write_text("".join(lines))
    assert [each.split for each in entries(tmp_path)] == ["train", "test"] * 2
    assert "W_UNLISTED 2: samples that the lists keep out (run 1, wave 1)" in told(tmp_path, capsys)


def test_lists_of_other_videos_are_refused(tmp_path):
    root = ucf(tmp_path)
    for file in (root / "ucfTrainTestlist").glob("t*list*"):
        file.write_text("Bowling/v_Bowling_g01_c01.avi 1\n")
    assert "nothing that it names is there" in refused(root)
    (root / "ucfTrainTestlist/trainlist01.txt").write_text("just a line\n")
    assert "trainlist01.txt line 1: expected `class/video.avi 1`, got 'just a line'" in refused(root)


def test_food101_lists_pictures_without_their_ending_and_another_train_txt_is_no_list(tmp_path):
    for label in ("apple_pie", "waffles"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in (7, 8):
            (tmp_path / "images" / label / f"{number}.jpg").write_bytes(b"")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/train.txt").write_text("apple_pie/7\nwaffles/8\n")
    (tmp_path / "meta/test.txt").write_text("apple_pie/8\nwaffles/7\n")
    assert [(each.label, each.split) for each in entries(tmp_path)] == [
        ("apple_pie", "train"), ("apple_pie", "test"), ("waffles", "test"), ("waffles", "train"),
    ]  # fmt: skip
    for file in (tmp_path / "meta").iterdir():
        file.write_text("trained on Monday\n")
    assert [each.split for each in entries(tmp_path)] == [None] * 4


def test_a_list_of_pictures_with_numbers_is_no_list_of_splits(place):
    """As Caffe has it: the folder of all pictures is no class, the number behind each path is."""
    folder = place(*(f"images/{number}.png" for number in range(4)))
    (folder / "train.txt").write_text("".join(f"images/{number}.png {number % 2}\n" for number in range(4)))
    assert "all pictures lie in one folder, images, and none of the files beside them" in refused(folder)

"""Lists of `id;label` with folders of frames."""

from forms.conftest import labels, read_all, refused, told


def draw(place):
    return place(*(f"{clip}/{frame:05d}.png" for clip in (34870, 100, 7, 12) for frame in (1, 2, 10)))


def test_lists_without_names_of_columns_keep_their_first_row(place, capsys):
    folder = draw(place)
    (folder / "jester-v1-labels.csv").write_text("Drumming Fingers\nSwiping Left\n")
    (folder / "jester-v1-train.csv").write_text("34870;Drumming Fingers\n100;Swiping Left\n")
    (folder / "jester-v1-validation.csv").write_text("7;Swiping Left\n")
    (folder / "jester-v1-test.csv").write_text("12\n")
    assert {(sample.source, sample.label, sample.split, len(sample.frames)) for sample in read_all(folder)} == {
        ("34870", "Drumming Fingers", "train", 3), ("100", "Swiping Left", "train", 3), ("7", "Swiping Left", "validation", 3)
    }  # fmt: skip
    assert "W_UNLABELED 3: pictures" in told(folder, capsys)


def test_the_same_with_names_of_columns_and_below_another_folder(place):
    place("20bn-jester-v1/7/00001.png", "20bn-jester-v1/7/00002.png")
    folder = place("20bn-jester-v1/12/00001.png")
    (folder / "train.csv").write_text("video_id;label\n7;Swiping Left\n12;Drumming Fingers\n")
    assert labels(folder) == {"20bn-jester-v1/7": "Swiping Left", "20bn-jester-v1/12": "Drumming Fingers"}


def test_an_id_without_frames_and_a_list_of_files(place):
    folder = draw(place)
    (folder / "train.csv").write_text("34870;Drumming Fingers\n999;Swiping Left\n")
    assert "E_MISSING_FILE" in refused(folder)
    assert "line 2: '999' does not exist" in refused(folder)
    (folder / "empty").mkdir()
    (folder / "train.csv").write_text("empty;Swiping Left\n")
    assert "E_SEQ_EMPTY empty: a clip without frames" in refused(folder)
    (folder / "train.csv").write_text("34870/00001.png,on\n34870/00002.png,off\n")
    assert labels(folder) == {"34870/00001.png": "on", "34870/00002.png": "off"}


def test_a_line_of_names_is_no_row_though_a_folder_has_such_a_name(place):
    folder = place("image/1.png", "image/2.png")
    (folder / "train.csv").write_text("image,label\n1.png,cat\n2.png,dog\n")
    assert labels(folder) == {"image/1.png": "cat", "image/2.png": "dog"}

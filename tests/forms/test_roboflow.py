"""Roboflow's `_classes.csv`, as it writes them: a space behind each comma."""

from forms.conftest import read_all, refused, told


def test_each_split_has_its_table(place, capsys):
    folder = place("train/1_jpg.rf.a1.jpg", "train/2_jpg.rf.b2.jpg", "valid/3.jpg", "test/4.jpg", "test/5.jpg")
    (folder / "train/_classes.csv").write_text("filename, Early Stage, ripe\n1_jpg.rf.a1.jpg, 1, 0\n2_jpg.rf.b2.jpg, 0, 1\n")
    (folder / "valid/_classes.csv").write_text("filename, Early Stage, ripe\n3.jpg, 0, 1\n")
    (folder / "test/_classes.csv").write_text("filename, Unlabeled, Early Stage, ripe\n4.jpg, 0, 1, 0\n5.jpg, 1, 0, 0\n")
    found = {sample.source: (sample.label, sample.split) for sample in read_all(folder)}
    assert found == {
        "train/1_jpg.rf.a1.jpg": ("Early Stage", "train"), "train/2_jpg.rf.b2.jpg": ("ripe", "train"),
        "valid/3.jpg": ("ripe", "validation"), "test/4.jpg": ("Early Stage", "test"),
    }  # fmt: skip
    assert "W_UNLABELED 1: pictures without a label in the table, such as 'test/5.jpg'" in told(folder, capsys)


def test_several_classes_of_one_picture_are_refused_by_name_not_cut_to_the_first(place):
    folder = place("train/1.jpg", "train/2.jpg")
    (folder / "train/_classes.csv").write_text("filename, helmet, person\n1.jpg, 1, 1\n2.jpg, 0, 1\n")
    assert "_classes.csv line 2: '1.jpg' has several labels (helmet, person)" in refused(folder)
    (folder / "train/_classes.csv").write_text("filename, helmet, person\n1.jpg, 0.5, 0\n")
    assert "expected 0 or 1 in 'helmet', as of a column for each class, got '0.5'" in refused(folder)


def test_an_export_of_masks_is_no_table_of_classes(place):
    folder = place("train/1.jpg", "train/1_mask.png")
    (folder / "train/_classes.csv").write_text("Pixel Value, Class\n0, background\n1, Car\n")
    assert "which is of masks, not of classes" in refused(folder)

"""Competitions, drawn after dog breeds, cassava leaves, plant pathology and traffic signs."""

import json

from forms.conftest import labels, read_all, refused, told


def test_ids_without_an_ending_and_a_flat_test_folder_with_the_same_names(place, capsys):
    folder = place("train/1.png", "train/2.png", "test/1.png", "test/3.png")
    (folder / "labels.csv").write_text("id,breed\n1,beagle\n2,pug\n")
    (folder / "sample_submission.csv").write_text("id,beagle,pug\n1,0.5,0.5\n3,0.5,0.5\n")
    assert labels(folder) == {"train/1.png": "beagle", "train/2.png": "pug"}
    assert "W_UNLABELED 2: pictures without a label in the table, such as 'test/1.png'" in told(folder, capsys)
    assert labels(folder.rename(folder.parent / "above").parent) == {"above/train/1.png": "beagle", "above/train/2.png": "pug"}


def test_the_table_with_labels_is_taken_and_no_made_up_label_of_a_submission(place):
    folder = place("train_images/1.png", "train_images/2.png", "test_images/7.png")
    (folder / "train.csv").write_text("id_code,diagnosis\n1,0\n2,2\n")
    (folder / "test.csv").write_text("id_code\n7\n")
    (folder / "sample_submission.csv").write_text("id_code,diagnosis\n7,0\n")
    assert labels(folder) == {"train_images/1.png": "0", "train_images/2.png": "2"}
    assert {sample.split for sample in read_all(folder)} == {None}
    (folder / "train.csv").write_text("id_code,diagnosis\n7,0\n8,2\n")  # 7 is in the test folder alone
    assert [line.partition(": ")[2] for line in refused(folder).splitlines()] == ["'7' does not exist", "'8' does not exist"]


def test_numbers_get_the_names_that_a_file_beside_the_table_has(place, capsys):
    folder = place("train_images/1.jpg", "train_images/2.jpg")
    (folder / "train.csv").write_text("image_id,label\n1.jpg,0\n2.jpg,3\n")
    (folder / "sample_submission.csv").write_text("image_id,label\n9.jpg,4\n")
    (folder / "label_num_to_disease_map.json").write_text(json.dumps({"0": "Blight", "3": "Mosaic", "4": "Healthy"}))
    assert labels(folder) == {"train_images/1.jpg": "Blight", "train_images/2.jpg": "Mosaic"}
    assert "labels by the names in label_num_to_disease_map.json" in told(folder, capsys)
    (folder / "classes.csv").write_text("number,name\n0,Mosaic\n3,Blight\n")
    assert "classes.csv and label_num_to_disease_map.json name the classes differently" in refused(folder)
    # Names that do not cover all numbers are names of something else.
    (folder / "classes.csv").unlink()
    (folder / "label_num_to_disease_map.json").write_text(json.dumps({"0": "Blight"}))
    assert set(labels(folder).values()) == {"0", "3"}


def test_a_column_for_each_class(place):
    folder = place("images/Train_0.jpg", "images/Train_1.jpg", "images/Test_0.jpg")
    (folder / "train.csv").write_text("image_id,healthy,rust,scab\nTrain_0,0,1,0\nTrain_1,1.0,0.0,0.0\n")
    (folder / "test.csv").write_text("image_id\nTest_0\n")
    assert labels(folder) == {"images/Train_0.jpg": "rust", "images/Train_1.jpg": "healthy"}
    (folder / "train.csv").write_text("image_id,width,height,score\nTrain_0,640,480,3\nTrain_1,640,480,4\n")
    assert "expected 0 or 1 in 'width', as of a column for each class, got '640'" in refused(folder)


def test_records_beside_the_pictures_of_a_table_are_chosen_from(place):
    folder = place("train_images/1.jpg", "train_images/2.jpg")
    (folder / "train.csv").write_text("image_id,label\n1.jpg,0\n2.jpg,1\n")
    (folder / "train_tfrecords").mkdir()
    (folder / "train_tfrecords/ld_train00-1338.tfrec").write_bytes(b"")
    assert "can be read in 2 ways" in refused(folder)
    assert labels(folder, form="kaggle") == {"train_images/1.jpg": "0", "train_images/2.jpg": "1"}


def test_two_tables_with_labels_are_the_official_splits(place):
    folder = place("Train/0/1.png", "Test/1.png", "Meta/0.png")
    (folder / "Train.csv").write_text("Width,ClassId,Path\n30,0,Train/0/1.png\n")
    (folder / "Test.csv").write_text("Width,ClassId,Path\n30,7,Test/1.png\n")
    (folder / "Meta.csv").write_text("Path,ClassId,ShapeId\nMeta/0.png,0,1\n")
    assert {(sample.source, sample.label, sample.split) for sample in read_all(folder)} == {
        ("Train/0/1.png", "0", "train"), ("Test/1.png", "7", "test")
    }  # fmt: skip


def test_names_of_class_folders_are_no_samples(place):
    folder = place("0/00001.png", "0/00002.png", "1/00001.png")
    (folder / "classes.csv").write_text("id,name\n0,Stop\n1,Go\n")
    assert labels(folder) == {"0/00001.png": "0", "0/00002.png": "0", "1/00001.png": "1"}

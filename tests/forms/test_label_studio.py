"""Label Studio's exports of choices."""

import json

import pytest

from forms.conftest import labels, refused, told

CSV = (
    "annotation_id,annotator,choice,created_at,id,image,lead_time,updated_at\n"
    "1,7,cat,2024-05-01T10:00:00Z,11,/data/upload/3/1a2b3c4d-one.png,3.2,2024-05-01T10:00:00Z\n"
    "2,7,dog,2024-05-01T10:00:00Z,12,/data/upload/3/9a8b7c6d-two.png,3.2,2024-05-01T10:00:00Z\n"
    "3,7,,2024-05-01T10:00:00Z,13,/data/upload/3/0f0f0f0f-three.png,3.2,2024-05-01T10:00:00Z\n"
)


def json_min(*rows: tuple) -> str:
    """As Label Studio writes them: an image, a choice and who made it."""
    return json.dumps([
        {"image": image, "id": number, "choice": choice, "annotator": by, "annotation_id": number, "lead_time": 3.5}
        for number, (image, choice, by) in enumerate(rows, 1)
    ])  # fmt: skip


def test_uploads_have_a_prefix_that_the_files_may_lack_and_skipped_ones_are_left_out(place, capsys):
    folder = place("images/one.png", "images/9a8b7c6d-two.png", "images/three.png")
    (folder / "project-3.csv").write_text(CSV)
    assert labels(folder) == {"images/one.png": "cat", "images/9a8b7c6d-two.png": "dog"}
    assert "W_UNLABELED 1: pictures without a label in the table, such as 'images/three.png'" in told(folder, capsys)


@pytest.mark.parametrize("image", [
    "/data/local-files/?d=set/a%20b/one.png", "/data/local-files/?d=set%5Ca%20b%5Cone.png", "s3://bucket/set/a b/one.png",
    "https://host:8080/set/a%20b/one.png?token=x",
])  # fmt: skip
def test_addresses_of_any_storage_lead_to_the_file(place, image):
    folder = place("a b/one.png", "b/one.png")
    (folder / "export.json").write_text(json_min((image, ["cat"], 1)))
    assert labels(folder) == {"a b/one.png": "cat"}


def test_a_name_with_signs_of_addresses_in_it(place):
    folder = place("a#1.png", "b[.png")
    (folder / "export.json").write_text(
        json_min((None, "dog", 1), ("s3://bucket/a#1.png", "cat", 1), ("http://[x/b[.png", "cat", 1))
    )
    assert refused(folder).endswith("entry 1: no path")
    (folder / "export.json").write_text(json_min(("s3://bucket/a#1.png", "cat", 1), ("http://[x/b[.png", "dog", 1)))
    assert labels(folder) == {"a#1.png": "cat", "b[.png": "dog"}


def test_several_annotators_count_once_where_they_agree_and_are_refused_where_they_do_not(place):
    folder = place("one.png")
    (folder / "export.json").write_text(json_min(("one.png", "cat", 1), ("one.png", "cat", 2)))
    assert labels(folder) == {"one.png": "cat"}
    (folder / "export.json").write_text(json_min(("one.png", "cat", 1), ("one.png", "dog", 2)))
    assert "entry 2: 'one.png' stands in entry 1 too, but as 'cat' and not 'dog'" in refused(folder)


def test_several_choices_and_other_exports_are_refused_in_true_words(place):
    folder = place("one.png")
    (folder / "export.json").write_text(json_min(("one.png", {"choices": ["cat", "dog"]}, 1)))
    assert '\'one.png\' has several labels (["cat", "dog"])' in refused(folder)
    box = {"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": ["cat"]}
    (folder / "export.json").write_text(json_min(("one.png", [box, box], 1)).replace('"choice"', '"label"'))
    assert "label has regions of pictures" in refused(folder)
    task = {"id": 1, "data": {"image": "one.png"}, "annotations": [{"result": []}], "predictions": []}
    (folder / "export.json").write_text(json.dumps([task]))
    assert "export it as JSON-MIN or CSV" in refused(folder)


def test_the_column_of_the_choice_may_have_the_name_that_the_project_gave_it(place):
    folder = place("one.png")
    (folder / "export.json").write_text(json_min(("one.png", "cat", 1)).replace('"choice"', '"animal"'))
    assert labels(folder) == {"one.png": "cat"}

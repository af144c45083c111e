"""What is printed before an ingest, whatever the names are."""

from conftest import draw_stills

from forms.conftest import told


def test_names_are_told_as_they_are_written_but_for_what_would_write_over_a_terminal(tmp_path, capsys):
    source = draw_stills(tmp_path / "source", each=1)
    (source / "bar").rename(source / "表紙 🐈")
    (source / "box").rename(source / "box\x1b[2J\u202e")
    said = told(source, capsys)
    assert "表紙 🐈 1: 表紙 🐈/0.png\n" in said
    assert r"box\x1b[2J\u202e 1: " in said


def test_long_paths_and_many_classes_stay_readable_in_100_columns(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    for number in range(30):
        draw_stills(
            tmp_path / "source" / f"class {number:02d} {'of many words ' * 9}".strip(), each=1, shapes=("a picture " * 12,)
        )
    said = told(tmp_path / "source", capsys, kind="stills")
    assert all(len(line) <= 100 for line in said.splitlines())
    assert "… and 10 classes more, of 1 down to 1 samples" in said
    for name in ("class 00 " + "of many words " * 9, "a picture " * 12 + "/0.png"):
        assert " ".join(name.split()) in " ".join(said.split())  # nothing is cut
    assert "splits    drawn by prepare" in said

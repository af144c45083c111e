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

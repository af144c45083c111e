"""Folders of classes, as people have them; for each the reading that is most likely wrong."""

from conftest import draw_stills

from forms.conftest import read_all, refused, told


def test_a_folder_per_class_is_told_and_read(tmp_path, capsys):
    source = draw_stills(tmp_path / "source", each=2)
    assert [(sample.label, sample.source) for sample in read_all(source)][:2] == [("bar", "bar/0.png"), ("bar", "bar/1.png")]
    assert "6 stills in 3 classes" in told(source, capsys)
    assert "has not the form npz" in refused(source, "npz")

"""What all pictures share: a palette, and names that become lines of bounded width."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from components.shared import plots
from components.shared.page import render


def test_the_palette_is_told_apart_by_the_colour_blind():
    # Machado, Oliveira and Fernandes, 2009: who lacks the red, green or blue cones.
    lacking = (
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    )
    together = [(plots.BLUE, plots.ORANGE, plots.INK, plots.GREY), (plots.BLUE, plots.SKY, plots.ORANGE)]  # on one picture
    for matrix, colours in itertools.product((np.eye(3), *lacking), together):
        seen = [np.clip(np.array(matrix) @ to_rgb(colour), 0, 1) for colour in colours]
        assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > 0.2


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), st.integers(4, 60))
def test_a_name_becomes_one_line_of_bounded_width(name, width):
    label = plots.label(name, width)
    assert label.isprintable()
    assert label.strip()
    assert plots._columns(label) <= width
    assert all(map(plots._font_with, label))
    if name.isprintable() and name.strip() and len(name) <= width and name.isascii():
        assert label == name


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec="latin-1"), max_size=120), st.integers(8, 30))
def test_a_long_name_is_wrapped_and_loses_nothing_that_has_room(name, width):
    lines = plots.label(name, width, 5).split("\n")
    assert len(lines) <= 5
    assert all(plots._columns(line) <= width for line in lines)
    if (whole := plots.label(name, 10_000)) and 2 * len(whole) <= 4 * width:
        assert "".join(lines).replace(" ", "") == whole.replace(" ", "")


def test_words_stay_whole_where_they_can():
    assert plots.label("Old English Sheepdog_with_long-hair", 12, 4) == "Old English\nSheepdog_\nwith_long-\nhair"
    assert plots.label("W" * 30, 10, 2) == "W" * 10 + "\n" + "\u2026".join(["", "W" * 9])


def test_a_font_is_taken_from_the_system_and_a_script_without_one_is_told_once(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(plots, "_said", [])
    monkeypatch.setattr(plots, "_families", lambda: ["DejaVu Sans", "STIXGeneral"])
    plots._font_with.cache_clear()
    assert plots.label("$\u732b\u732c \u1d81", 40) == "$\\u732b\\u732c \u1d81"
    assert [plots._font_with(character) for character in "$\u1d81\u732b"] == ["DejaVu Sans", "STIXGeneral", None]
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    assert "no font on this machine has CJK UNIFIED IDEOGRAPH-732B" in told
    plots._font_with.cache_clear()


def test_what_a_font_has_is_told_by_the_face_that_draws_in_whatever_order_they_are_found(monkeypatch):
    from matplotlib import font_manager

    for order in (1, -1):
        monkeypatch.setattr(font_manager.fontManager, "ttflist", font_manager.fontManager.ttflist[::order])
        plots._characters.cache_clear()
        assert 0x1D81 in plots._characters("STIXGeneral")  # its italic has it not


def test_pages_colour_the_splits_as_pictures_do():
    style = (render.HERE / "style.html").read_text()
    for split, colour in (("train", plots.BLUE), ("validation", plots.SKY), ("test", plots.ORANGE)):
        assert f"--{split}: {colour};" in style

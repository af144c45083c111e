"""Damaged annotations: nothing but our own errors."""

import contextlib
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_fuzz_sources import FUZZ, MUTATION, mutated

from components.shared.errors import Stop
from forms.boxed import draw
from forms.conftest import read_all
from forms.test_coco import annotations
from forms.test_cvat import CAT, DOG, image
from forms.test_voc import annotation

WORDS = (
    b"null",
    b"1e999",
    b"-1",
    b"NaN",
    b"[]",
    b"{}",
    b'"x"',
    b"9" * 400,
    b"<",
    b">",
    b":",
    b"&a;",
    b"- ",
    b"\n",
    b",",
    b"\xff",
    b"../",
)
MUTATIONS = st.lists(
    MUTATION | st.tuples(st.just("word"), st.integers(0, 2**16), st.integers(0, len(WORDS) - 1)), min_size=1, max_size=3
)
FILES = {
    "_annotations.coco.json": annotations("1.png"),
    "1.xml": annotation("1.png"),
    "annotations.xml": f"<annotations>{image(1, CAT + DOG)}</annotations>",
    "1.txt": "0 0.25 0.3 0.25 0.4\n1 0.5 0.4 0.75 0.4 0.75 0.8 0.6 0.8\n",
    "data.yaml": "names:\n  0: cat\n  1: dog\ntrain: images/train\nkpt_shape: [1, 2]\n",
    "b.csv": "filename,width,height,class,xmin,ymin,xmax,ymax\n1.png,80,50,cat,10,5,30,25\n",
}
ODD = (None, -1, 7, float("inf"), float("nan"), 10**400, "", "../1.png", "\0", "\ud800", [], {}, [1], True, 0.5)


@pytest.fixture
def source(tmp_path):
    draw(tmp_path / "1.png")
    return tmp_path


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, **FUZZ)
@given(MUTATIONS)
def test_damaged_annotations_are_refused_or_read(source, name, mutations):
    if name in ("1.txt", "data.yaml"):
        for beside in ("1.txt", "data.yaml"):
            (source / beside).write_text(FILES[beside])
    (source / name).write_bytes(mutated(FILES[name].encode(), mutations, words=WORDS))
    with contextlib.suppress(Stop):
        read_all(source, crop_boxes=True)


def places(tree, path=()):
    if path:
        yield path
    for key in tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield from places(tree[key], (*path, key))


PLACES = list(places(json.loads(annotations("1.png"))))


@settings(max_examples=150, **FUZZ)
@example(("categories", 0, "name"), "\ud800")
@given(st.sampled_from(PLACES), st.sampled_from(ODD))
def test_coco_with_any_value_anywhere_is_refused_or_read(source, place, odd):
    tree = json.loads(annotations("1.png"))
    *above, last = place
    at = tree
    for key in above:
        at = at[key]
    at[last] = odd
    (source / "_annotations.coco.json").write_text(json.dumps(tree))
    with contextlib.suppress(Stop):
        read_all(source, crop_boxes=True)

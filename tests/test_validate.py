import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import MEASURE, ROOT, by_code, draw_clips, draw_stills, drawing, measured, png
from PIL import Image

from components.ingest.step import ingest
from components.measure.step import measure
from components.shared.data import dataset, twins
from components.shared.errors import CannotRun, Refused
from components.validate.checks import BY_CODE, CHECKS, checks
from components.validate.config import ValidateConfig
from components.validate.step import validate


@pytest.fixture
def judged(tmp_path, knobs):
    """`judged(folder, **knobs)`: ingest, measure and validate it; returns (findings by code, summary, refused or not)."""

    def judge(source, **changes):
        severity = {**knobs(ValidateConfig, "validate").severity, **changes.pop("severity", {})}
        ingest(str(source), tmp_path / "data", replace=True)
        measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "manifest")
        out = tmp_path / "validation"
        config = knobs(ValidateConfig, "validate", severity=severity, **changes)
        try:
            validate(manifest=tmp_path / "manifest", config=config, validation=out)
            refused = False
        except Refused:
            refused = True
        findings = by_code(out / "findings.json")
        return findings, json.loads((out / "summary.json").read_text()), refused

    return judge


def test_clean_pictures_pass_without_a_finding(stills, judged, tmp_path):
    findings, summary, refused = judged(stills)
    assert (findings, refused) == ({}, False)
    assert summary["passed"]
    assert summary["class_counts"] == {"bar": 30, "box": 30, "cross": 30}
    assert summary["imbalance_ratio"] == 1.0
    assert summary["counts"]["samples"] == 90
    assert (tmp_path / "validation" / "classes.png").stat().st_size > 5000
    page = next((tmp_path / "validation" / "data_docs" / "validations").rglob("*.html")).read_text()
    assert "every sample has a source of its own" in page
    assert summary["expectations"]["evaluated"] > 25
    assert summary["expectations"]["failed"] == {}


def test_a_text_file_named_png_stops_the_run_and_is_named(stills, judged):
    (stills / "bar" / "note.png").write_text("not a picture")
    findings, summary, refused = judged(stills)
    assert refused
    assert not summary["passed"]
    assert findings["E_NOT_IMAGE"]["items"] == ["bar/note.png: plain text"]
    assert findings["E_NOT_IMAGE"]["severity"] == "error"
    assert findings["E_NOT_IMAGE"]["fix"]


def test_a_shard_without_a_sample_is_no_data_and_nothing_else_breaks(tmp_path, knobs):
    (tmp_path / "data").mkdir()
    dataset.write_shard([], tmp_path / "data/0.parquet")
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "m")
    with pytest.raises(Refused):
        validate(manifest=tmp_path / "m", config=knobs(ValidateConfig, "validate"), validation=tmp_path / "v")
    assert {"E_NO_DATA", "E_ONE_CLASS"} == set(by_code(tmp_path / "v/findings.json"))
    assert pq.read_table(tmp_path / "v/pairs.parquet").num_rows == 0


def test_one_class_is_refused(tmp_path, judged):
    findings, _, refused = judged(draw_stills(tmp_path / "s", shapes=("bar",)))
    assert refused
    assert "E_ONE_CLASS" in findings


def test_imbalance_warns_and_names_the_knobs_that_answer_it(stills, judged):
    for number in range(2, 30):
        (stills / "box" / f"{number}.png").unlink()
    findings, summary, refused = judged(stills, max_imbalance_ratio=10.0, min_class_size=2)
    assert not refused
    assert findings["W_IMBALANCE"]["severity"] == "warning"
    assert "augment.balance" in findings["W_IMBALANCE"]["fix"]
    assert summary["imbalance_ratio"] == 15.0
    _, _, refused = judged(stills, max_imbalance_ratio=10.0, min_class_size=2, severity={"W_IMBALANCE": "error"})
    assert refused
    findings, _, _ = judged(stills, max_imbalance_ratio=10.0, min_class_size=2, severity={"W_IMBALANCE": "off"})
    assert "W_IMBALANCE" not in findings


def test_a_class_too_small_to_split_is_refused(stills, judged):
    for number in range(3, 30):
        (stills / "box" / f"{number}.png").unlink()
    findings, _, refused = judged(stills)
    assert refused
    assert len(findings["E_CLASS_TOO_SMALL"]["items"]) == 3
    assert "'box' 3 < 10" in findings["E_CLASS_TOO_SMALL"]["items"][0]


def test_the_same_picture_under_two_labels_or_in_two_splits_is_found(tmp_path, judged):
    for split in ("train", "test"):
        draw_stills(tmp_path / "s" / split, each=15, seed=len(split))
    twin = png(drawing("bar", np.random.default_rng(1000)))
    (tmp_path / "s/train/bar/x.png").write_bytes(twin)
    (tmp_path / "s/test/bar/y.png").write_bytes(twin)
    (tmp_path / "s/train/box/z.png").write_bytes(twin)
    (tmp_path / "s/train/bar/again.png").write_bytes(twin)
    findings, _, refused = judged(tmp_path / "s")
    assert refused
    assert findings["E_LEAKAGE"]["items"] == [
        "test/bar/y.png = train/bar/again.png", "train/bar/again.png = test/bar/y.png", "train/bar/x.png = test/bar/y.png",
        "train/box/z.png = test/bar/y.png",
    ]  # fmt: skip
    assert len(findings["E_LABEL_CONFLICT"]["items"]) == 4
    assert (
        findings["E_LABEL_CONFLICT"]["items"][0]
        == "test/bar/y.png: 'bar' = train/box/z.png 'box'; fix keeps 'bar' (most copies)"
    )
    assert findings["W_DUPLICATE"]["items"] == ["train/bar/x.png = train/bar/again.png"]


def test_a_class_that_a_split_lacks_is_found(tmp_path, judged):
    draw_stills(tmp_path / "s" / "train", each=15)
    draw_stills(tmp_path / "s" / "test", each=15, shapes=("bar", "box"), seed=9)
    findings, _, refused = judged(tmp_path / "s")
    assert refused
    assert "'cross' is missing in test" in findings["E_CLASS_MISSING"]["items"][0]


def test_a_group_on_two_sides_is_found(tmp_path, judged):
    draw_stills(tmp_path / "s", each=15)
    rows = ["path,label,group,split"]
    rows += [f"{c}/{n}.png,{c},{c}{n % 4},{'test' if n == 4 else 'train'}" for c in ("bar", "box", "cross") for n in range(15)]
    (tmp_path / "s" / "t.csv").write_text("\n".join(rows))
    findings, _, refused = judged(tmp_path / "s" / "t.csv")
    assert refused
    assert any("group 'bar0'" in item for item in findings["E_GROUP_LEAKAGE"]["items"])


def test_labels_that_differ_only_in_case_are_found(stills, judged):
    (stills / "Bar").mkdir()
    for number in range(12):
        (stills / "Bar" / f"{number}.png").write_bytes(png(drawing("bar", np.random.default_rng(500 + number))))
    findings, _, refused = judged(stills)
    assert refused
    assert findings["E_LABEL_UNKNOWN"]["items"][0] == "Bar/0.png: label 'Bar', did you mean 'bar'?"


def test_blank_odd_and_mixed_pictures_warn(stills, judged):
    (stills / "bar" / "blank.png").write_bytes(png(np.full((16, 16, 3), 7, np.uint8)))
    (stills / "bar" / "huge.png").write_bytes(png(drawing("bar", np.random.default_rng(3), size=300)))
    for number in range(6):
        grey = drawing("box", np.random.default_rng(60 + number))[:, :, 0]
        (stills / "box" / f"grey{number}.png").write_bytes(png(grey))
    findings, _, refused = judged(stills)
    assert refused
    assert findings["W_BLANK"]["items"] == ["bar/blank.png: contrast 0.0"]
    assert findings["W_SIZE_MIX"]["items"] == ["bar/huge.png: 300x300 (side min 16, median 16, max 300; all are resized)"]
    assert findings["E_MODE_MIX"]["message"].endswith("6.1% grey among colour pictures, more than 5%")
    _, _, refused = judged(stills, severity={"E_MODE_MIX": "warning"})
    assert not refused


def test_clips_with_frames_of_another_size_are_found(tmp_path, judged):
    clips = draw_clips(tmp_path / "clips")
    (clips / "left" / "clip0" / "frame1.png").write_bytes(png(drawing("box", np.random.default_rng(0), size=20)))
    findings, summary, refused = judged(clips)
    assert refused
    assert findings["E_SEQ_SIZE"]["items"] == ["left/clip0: 2 sizes of frames"]
    assert summary["kind"] == "clip"


def test_names_cannot_write_over_the_terminal(stills, judged, capsys):
    (stills / "bar" / "a\x1b[31m.png").write_text("not a picture")
    findings, _, _ = judged(stills)
    assert "\x1b" not in capsys.readouterr().out
    assert findings["E_NOT_IMAGE"]["items"] == ["bar/a\\x1b[31m.png: plain text"]


def test_an_unknown_or_missing_severity_is_refused(stills, judged):
    with pytest.raises(CannotRun, match=r"validate\.severity\.W_TYPO: no such check"):
        judged(stills, severity={"W_TYPO": "error"})


def test_bad_files_may_be_skipped_up_to_a_share_and_are_named_all_the_same(stills, judged):
    (stills / "bar" / "note.png").write_text("not a picture")
    findings, summary, refused = judged(stills, quarantine="skip")
    assert not refused
    assert findings["E_NOT_IMAGE"]["severity"] == "warning"
    assert findings["E_NOT_IMAGE"]["items"] == ["bar/note.png: plain text"]
    assert "skipped" in findings["E_NOT_IMAGE"]["message"]
    assert summary["counts"]["undecodable"] == 1
    findings, _, refused = judged(stills, quarantine="skip", max_quarantined=0.01)
    assert refused
    assert "1.1%, more than may be skipped" in findings["E_NOT_IMAGE"]["message"]


def test_pictures_that_look_the_same_in_two_splits_are_leakage_when_they_are_many(tmp_path, judged):
    draw_stills(tmp_path / "s/train", each=30, size=32)
    draw_stills(tmp_path / "s/test", each=30, size=32, seed=1)
    brighter = np.clip(dataset_pixels(tmp_path / "s/test/bar/3.png") * 1.1, 0, 255).astype(np.uint8)
    (tmp_path / "s/train/bar/near.png").write_bytes(png(brighter))
    findings, _, refused = judged(tmp_path / "s")
    assert refused
    assert findings["E_LEAKAGE"]["items"] == ["test/bar/3.png ~ train/bar/near.png", "train/bar/near.png ~ test/bar/3.png"]
    findings, _, refused = judged(tmp_path / "s", max_near_leakage=0.1)
    assert not refused
    assert len(findings["W_NEAR_LEAKAGE"]["items"]) == 2


def test_what_a_split_must_keep_together_is_written_whatever_the_severities_say(tmp_path, judged):
    draw_stills(tmp_path / "s", each=15, size=32)
    brighter = np.clip(dataset_pixels(tmp_path / "s/bar/3.png") * 1.1, 0, 255).astype(np.uint8)
    (tmp_path / "s/cross/near.png").write_bytes(png(brighter))
    off = {check.code: "off" for check in CHECKS}
    _, summary, _ = judged(tmp_path / "s", severity=off)
    pairs = pq.read_table(tmp_path / "validation/pairs.parquet").to_pylist()
    rows = measured(tmp_path / "manifest")["source"]
    assert [(rows[pair["one"]], rows[pair["other"]], pair["kind"]) for pair in pairs] == [
        ("bar/3.png", "cross/near.png", "near")
    ]
    assert summary["knobs"]["measure"]["faces"] is False
    assert summary["knobs"]["validate"]["near_bits"] == 6


def test_clips_that_share_frames_are_a_pair_too(tmp_path, judged):
    clips = draw_clips(tmp_path / "clips")
    shutil.copytree(clips / "left/clip3", clips / "left/window")
    (clips / "left/window/frame0.png").unlink()
    judged(clips)
    pairs = pq.read_table(tmp_path / "validation/pairs.parquet").to_pylist()
    rows = measured(tmp_path / "manifest")["source"]
    assert ("left/clip3", "left/window", "frames") in [(rows[pair["one"]], rows[pair["other"]], pair["kind"]) for pair in pairs]


def dataset_pixels(file) -> np.ndarray:
    return np.asarray(Image.open(file)).astype(float)


@pytest.mark.parametrize("where", ["here", "another pod"])
def test_drift_is_told_against_the_data_that_passed_before(stills, judged, tmp_path, monkeypatch, where):
    if where == "another pod":
        monkeypatch.setenv("DARKROOM_STORE", (tmp_path / "store").as_uri())
        here, place = judged, tmp_path / "validation"

        def judged(source):
            shutil.rmtree(place, ignore_errors=True)  # as a pod begins
            return here(source)

    findings, summary, _ = judged(stills)
    assert summary["accepted"] is None
    for number in range(40):
        dark = drawing("bar", np.random.default_rng(700 + number)) // 3
        (stills / "bar" / f"dark{number}.png").write_bytes(png(dark))
    for _ in range(2):  # judged again, it is held against the same data
        findings, changed, refused = judged(stills)
        assert not refused
        assert "share of 'bar' 0.33 -> 0.54 (L-inf 0.21 > 0.1)" in findings["W_DRIFT"]["message"]
        assert changed["accepted"] == summary["figures"]
    (stills / "bar" / "dark0.png").write_text("broken: this version is not accepted")
    assert judged(stills)[2]
    (stills / "bar" / "dark0.png").unlink()
    findings, last, _ = judged(stills)
    assert last["accepted"] == changed["figures"]
    assert "W_DRIFT" not in findings


def test_imbalance_is_explained_and_a_guess_is_rated(stills, judged):
    for number in range(10, 30):
        (stills / "box" / f"{number}.png").unlink()
    _, summary, _ = judged(stills)
    facts = summary["imbalance"]
    assert (facts["classes"], facts["ratio"], facts["majority_accuracy"]) == (3, 3.0, round(30 / 70, 4))
    share = np.array([30, 10, 30]) / 70
    entropy = -(share * np.log(share)).sum()
    assert facts["effective_classes"] == pytest.approx(np.exp(entropy), abs=1e-4)
    assert facts["kl_to_uniform"] == pytest.approx(np.log2(3) - entropy / np.log(2), abs=1e-4)
    assert facts["smallest_class"]["to be split"] == {"class": "box", "samples": 10}
    assert "balanced_accuracy" in facts["recommendation"]


def test_a_screen_holds_what_the_terminal_is_told(stills, judged, tmp_path, knobs, capsys):
    for number in range(30):
        (stills / "bar" / f"note{number}.png").write_text(("not a picture", "<html>", "\x80\x04\x95")[number % 3])
        (stills / f"class {number}").mkdir()
        (stills / f"class {number}" / "one.png").write_bytes(png(drawing("box", np.random.default_rng(number + 40))))
    judged(stills)
    capsys.readouterr()
    with pytest.raises(Refused):
        validate(manifest=tmp_path / "manifest", config=knobs(ValidateConfig, "validate"), validation=tmp_path / "validation")
    assert len(capsys.readouterr().out.splitlines()) <= 24


def test_every_check_has_a_severity_an_example_and_a_sentence_of_its_own(capsys, monkeypatch):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert list(params["validate"]["severity"]) == [check.code for check in CHECKS]
    said = [(check.message, check.why, check.fix) for check in CHECKS] + [
        kind for check in CHECKS for kind in check.kinds.values()
    ]
    for part in zip(*said, strict=True):  # what was found, why it matters, what to do: no two codes share any of them
        assert all(part)
        assert len(set(part)) == len(part)
    assert all(check.example for check in CHECKS)
    monkeypatch.setenv("COLUMNS", "60")
    checks(params=ROOT / "params.yaml")
    out = capsys.readouterr().out
    assert "E_LEAKAGE         error" in out
    assert max(map(len, out.splitlines())) <= 60


def test_every_code_that_a_decoder_gives_has_a_sentence():
    given = {code for file in [*(ROOT / "components/shared/pictures").glob("*.py"), ROOT / "components/measure/step.py"]
             for code in re.findall(r'"(E_[A-Z_]+)"', file.read_text())}  # fmt: skip
    assert given == BY_CODE["E_UNDECODABLE"].kinds.keys()


@pytest.mark.parametrize("columns", [60, 80, 120, 0])
def test_the_terminal_shows_each_finding_whole_at_any_width(stills, judged, monkeypatch, capsys, columns):
    (stills / "bar" / f"{'long name ' * 20}.png").write_text("not a picture")
    for number in range(8):
        (stills / "box" / f"clash{number}.png").write_bytes((stills / "bar" / f"{number}.png").read_bytes())
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
    findings, _, refused = judged(stills)
    assert refused
    out = capsys.readouterr().out
    told = " ".join(out.split())
    for code in findings:
        assert code in told  # in full, or at the end by name
    for part in ("message", "fix"):
        assert findings["E_NOT_IMAGE"][part] in told
        assert findings["E_LABEL_CONFLICT"][part] in told
    assert " ".join(f"bar/{'long name ' * 20}.png: plain text".split()) in told
    lines = [line for line in out.splitlines() if " " in line.strip() and not line.startswith(("next: ", "/"))]
    assert not columns or max(map(len, lines)) <= columns


@pytest.mark.parametrize("bits", [0, 3, 6])
def test_the_index_of_near_twins_finds_what_comparing_all_pairs_finds(bits):
    rng = np.random.default_rng(bits)
    hashes = rng.integers(0, 2**64, 40, dtype=np.uint64).repeat(5)
    thumbnails = rng.integers(0, 256, (40, 256)).repeat(5, axis=0)
    for index in range(len(hashes)):  # five of a kind, each changed a little
        for bit in rng.integers(0, 64, rng.integers(0, 5)):
            hashes[index] ^= np.uint64(1) << np.uint64(bit)
    thumbnails = np.clip(thumbnails + rng.integers(-12, 13, thumbnails.shape), 0, 255).astype(np.uint8)
    one, other = np.triu_indices(len(hashes), 1)
    near = np.bitwise_count(hashes[one] ^ hashes[other]) <= bits
    alike = np.corrcoef(thumbnails)[one, other] >= 0.99
    assert 0 < (near & alike).sum() < near.sum()
    found = twins.pairs(hashes, thumbnails, bits=bits, correlation=0.99)
    assert found.tolist() == np.stack([one, other], axis=1)[near & alike].tolist()

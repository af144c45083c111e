"""The gate: a gain has to be proven, no class may pay for it, and every criterion is a row with its reason."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from trained import champion, knobs_of_register, make, package_of, project, register_these, say, split_of, versions

from components.register import chance, criteria
from components.register.comparison import PARTS
from components.register.comparison import parts as parts_of
from components.register.promotion import FRESH
from components.register.summary import summary
from components.shared import files
from components.shared.data import arrays
from components.shared.errors import CannotRun
from components.shared.models import package
from components.shared.runs import tracking
from components.shared.runs.logged_model import DIGEST
from components.shared.runs.registry import Registry

CLASSES = ["a", "b", "c"]
LABELS = np.repeat([0, 1, 2], 1000)


def said(rights: tuple[float, float, float], *, surer: float = 0.0, seed: int = 0) -> criteria.Said:
    """Drawn answers with such a recall of each class, as sure as they are right on average, or surer."""
    hit = np.random.default_rng(seed).random(len(LABELS)) < np.array(rights)[LABELS]
    return criteria.Said(np.where(hit, LABELS, (LABELS + 1) % 3), np.full(len(LABELS), np.mean(rights) + surer))


def failing(before: criteria.Said, after: criteria.Said, **knobs) -> list[str]:
    rows = criteria.promotion("cnn", LABELS, before, after, CLASSES, knobs_of_register(**knobs), draws=1000)
    return [row.reason for row in rows if row.verdict == criteria.FAILS]


def test_two_points_worse_is_refused_and_two_points_better_accepted():
    low, high = said((0.93, 0.93, 0.93)), said((0.95, 0.95, 0.95), seed=1)
    (reason,) = failing(high, low)
    assert reason.startswith("worse by 0.0")
    assert failing(low, high) == []
    (reason,) = failing(low, high, smallest_gain=0.2)
    assert reason.endswith("is below register.smallest_gain = 0.2")


def test_equal_models_are_no_proof_and_told_how_many_samples_would_be():
    one, other = said((0.9, 0.9, 0.9)), said((0.9, 0.9, 0.9), seed=1)
    (reason,) = failing(one, other)
    lead = ((other.predicted == LABELS).astype(int) - (one.predicted == LABELS)) / len(LABELS)
    assert reason.startswith("no proof that it is better: a difference of ")
    assert reason.endswith(f"; about {chance.samples_needed(lead, len(LABELS)):,} test samples would tell a gain of one point")
    (reason,) = failing(one, one)
    assert "a difference of +0.0000 (95% interval +0.0000 to +0.0000)" in reason


def test_better_on_average_and_harmful_to_a_class_is_refused_with_that_class_named():
    (reason,) = failing(said((0.7, 0.9, 0.9)), said((0.95, 0.95, 0.75), seed=1))
    assert reason.startswith("class 'c' loses 0.1")
    assert reason.endswith("above register.class_harm = 0.05")
    assert failing(said((0.7, 0.9, 0.9)), said((0.95, 0.95, 0.87), seed=1)) == []


def test_a_model_that_is_better_and_far_surer_than_it_is_right_is_caught():
    (reason,) = failing(said((0.8, 0.8, 0.8)), said((0.9, 0.9, 0.9), surer=0.09, seed=1))
    assert reason.startswith("growth of the calibration error: 0.0")
    assert reason.endswith("above register.calibration_harm = 0.05")


def test_fewer_than_five_samples_on_which_two_models_differ_prove_nothing():
    better = criteria.Said(LABELS.copy(), np.ones(len(LABELS)))
    for wrong, refused in ((4, True), (12, False)):
        predicted = LABELS.copy()
        predicted[:: len(LABELS) // wrong] += 1
        worse = criteria.Said(predicted % 3, np.ones(len(LABELS)))
        assert bool(failing(worse, better, smallest_gain=0.0)) == refused


def pairs_needed(differing: float, gain: float) -> int:
    return chance.samples_needed(np.ones(round(1000 * differing)) / 1000, 1000, gain)


def equal_but_by_chance(labels: np.ndarray, units: np.ndarray, seed: int) -> list[criteria.Said]:
    """Two models of which a coin says for each unit which one errs in a third of its samples."""
    rng = np.random.default_rng(seed)
    worse = rng.integers(0, 2, units.max() + 1)[units]
    errs = rng.random(len(labels)) < 1 / 3
    return [criteria.Said(np.where(errs & (worse == side), 1 - labels % 2, labels), np.ones(len(labels))) for side in (0, 1)]


@pytest.mark.parametrize(("units", "most"), [(1, 0), (2, 0), (4, 0), (5, 0.08), (12, 0.1)])
def test_few_groups_promote_no_model_by_chance(units, most):
    labels, unit = np.arange(20 * units) % 2, np.repeat(np.arange(units), 20)
    promoted = 0
    for seed in range(100):
        rows = criteria.promotion("cnn", labels, *equal_but_by_chance(labels, unit, seed), ["a", "b"],
                                  knobs_of_register(smallest_gain=0.0), units=unit, draws=300)  # fmt: skip
        promoted += rows[0].verdict == criteria.PASSES
    assert promoted <= 100 * most


def test_a_rare_class_promotes_no_model_by_chance():
    labels, promoted = np.repeat([0, 1, 2], [500, 500, 5]), 0
    for seed in range(200):
        hits = np.random.default_rng(seed).random((2, len(labels))) < 0.8
        two = [criteria.Said(np.where(hit, labels, (labels + 1) % 3), np.full(len(labels), 0.8)) for hit in hits]
        rows = criteria.promotion("cnn", labels, *two, CLASSES, knobs_of_register(smallest_gain=0.0), draws=300)
        promoted += rows[0].verdict == criteria.PASSES
    assert promoted <= 16  # of 200, at 5 %


def test_a_class_vetoes_by_more_than_chance_however_many_there_are():
    def verdict(classes: int, each: int, lost: int) -> str:
        labels = np.repeat(np.arange(classes), each)
        before, after = labels.copy(), labels.copy()
        after[:lost] = 1
        before[each::5] = 0  # the champion errs elsewhere
        names = [str(name) for name in range(classes)]
        two = [criteria.Said(predicted, np.ones(len(labels))) for predicted in (before, after)]
        return criteria.promotion("cnn", labels, *two, names, knobs_of_register(), draws=300)[1].verdict

    assert verdict(100, 40, 4) == criteria.PASSES  # 0.5 ** 4 times 100 classes
    assert verdict(100, 40, 12) == criteria.FAILS
    assert verdict(2, 1, 1) == criteria.PASSES, "one sample is no proof"
    assert verdict(2, 40, 6) == criteria.FAILS


def test_the_number_of_samples_is_that_of_the_source():
    # Connor (1987): 20 % of pairs differ, to tell a gain of 10 points, one-sided 5 %, power 80 %.
    assert pairs_needed(0.2, 0.1) == pytest.approx(122, abs=2)
    seen = 0
    for seed in range(200):  # and so many do tell, four times out of five
        rng = np.random.default_rng(seed)
        kinds = rng.choice([1, -1, 0], size=pairs_needed(0.1, 0.04), p=[0.07, 0.03, 0.9])
        seen += kinds.sum() / np.sqrt(np.abs(kinds).sum()) > 1.645
    assert 0.7 < seen / 200 < 0.9


def test_limits_are_kept_by_the_favourable_side_and_what_was_not_measured_is_said():
    config = knobs_of_register(minimum_coverage=0.9, maximum_mebibytes=5.0)
    figures = {"accuracy": 0.5, "coverage": 0.8, "onnx_mebibytes": 5.5, "expected_calibration_error": float("nan")}
    rows = {row.criterion: row for row in criteria.alone("lstm", figures, {"accuracy": [0.4, 0.6]}, config, promise=0.9)}
    assert (rows["accuracy"].verdict, rows["accuracy"].low, rows["accuracy"].high) == ("passes", 0.4, 0.6)
    assert rows["coverage"].reason == "coverage 0.8000 is below register.minimum_coverage = 0.9 of the promised 0.9"
    assert rows["onnx_mebibytes"].reason == "onnx_mebibytes 5.5000 is above register.maximum_mebibytes = 5"
    unknown = {name for name, row in rows.items() if row.verdict == "not compared"}
    assert {"expected_calibration_error", "mean_corruption_error", "worst_class_recall"} <= unknown


@pytest.fixture
def place(here: Path) -> Path:
    """A project with 400 test samples, and a champion that is wrong of the last 80."""
    split_of(project(here) / "prepared/test", 400, size=20)
    register_these(here, make(here, "cnn", training="first", wrong=range(320, 400)))
    return here


def test_the_verdicts_of_planted_packages_their_table_and_what_the_registry_keeps(place, capsys):
    def judged(training: str, **options) -> str:
        return register_these(place, make(place, "lstm", training=training, **options))["reasons"][1]

    assert "worse by 0.0200" in judged("worse", wrong=range(312, 400))
    assert "no proof that it is better: a difference of +0.0000" in judged("equal", wrong=range(80))
    assert "class 'b' loses 0.1000 of its recall" in judged("harmful", wrong=range(281, 400, 2))
    assert "growth of the calibration error" in judged("unsure", wrong=[], weight=0.01)
    assert str(champion().version) == "1"
    aliases = tracking.connect().MlflowClient().get_registered_model("darkroom").aliases
    assert {alias: str(version) for alias, version in aliases.items()} == {"champion": "1", "challenger": "5"}
    verdict = register_these(place, make(place, "lstm", training="better", wrong=range(350, 400)))
    assert verdict["reasons"][1].startswith("Better than the champion: balanced accuracy 0.8750 on the same 400 test samples")
    assert verdict["reasons"][2].startswith("This test split has decided 4 times before")
    assert (verdict["decisions"], verdict["champion"]["version"], str(champion().version)) == (5, "1", "6")
    rows = [row for row in verdict["criteria"] if row["compared_with"] == "champion"]
    assert [row["verdict"] for row in rows] == ["passes", "passes", "passes", "not compared", "passes"]
    assert all({"value", "low", "high", "limit", "reason", "candidate"} <= row.keys() for row in rows)
    summary(place / "registration.json", explain=True)
    table = capsys.readouterr().out
    assert "gain in balanced_accuracy" in table
    assert "a gain of 0.0750 (95% interval +0." in table
    client = tracking.connect().MlflowClient()
    run = client.get_model_version("darkroom", "6").run_id
    kept = Path(client.get_run(run).info.artifact_uri.removeprefix("file://")) / "registration.json"
    assert json.loads(kept.read_text())["criteria"] == verdict["criteria"]


def test_damage_counts_and_the_card_tells_intervals_weakest_parts_and_damage(here):
    def damaged(architecture: str, error: float, **options) -> dict:
        folders = make(here, architecture, training=architecture, **options)
        worst = {"damage": "fog", "strength": 5, "accuracy": 0.25}
        of = {
            "package": package.read(package_of(folders[0])).digest,
            "test_digest": files.read_json(folders[1] / "test.json")["digest"],
        }
        told = {"mean_corruption_error": error, "worst": worst, "samples": 80} | of
        files.write_json(here / f"stress/{architecture}/stress.json", told)
        files.write_json(folders[1] / "intervals.json", {"accuracy": [0.65, 0.75]})
        row = {"column": "brightness", "value": "dark", "samples": 12, "accuracy": 0.5}
        files.write_csv(folders[1] / "slices.csv", [row])
        return register_these(here, folders, stress=here / "stress")

    project(here)
    damaged("cnn", 0.3, test=0.7)
    told = champion().description
    figures = tracking.connect().get_run(champion().run_id).data.metrics
    assert (figures["stress/mean_corruption_error"], figures["stress/worst_accuracy"]) == (0.3, 0.25)
    assert "| accuracy | 0.7000 (0.6500 to 0.7500) |" in told
    assert "**Weakest parts**: brightness `dark`: accuracy 0.5000 of 12." in told
    assert "mean corruption error 0.3000; worst is fog at strength 5, with accuracy 0.2500." in told
    verdict = damaged("lstm", 0.4, test=0.95)
    assert verdict["reasons"][1].endswith(
        "growth of the mean corruption error: 0.4000, the champion's is 0.3000, above register.corruption_harm = 0.05."
    )
    assert str(champion().version) == "1"
    shutil.copytree(here / "stress/cnn", here / "stress/lstm", dirs_exist_ok=True)
    with pytest.raises(CannotRun, match="is of another package than"):
        register_these(here, (here / "models/lstm", here / "evaluation/lstm"), stress=here / "stress")


def test_a_champion_that_cannot_be_asked_is_held_to_its_record_and_what_is_not_known_is_said(place):
    client = tracking.connect().MlflowClient()
    client.delete_model_version_tag("darkroom", "1", DIGEST)
    better = make(place, "lstm", training="better", wrong=[], test=0.99, worst=0.3)
    verdict = register_these(place, better)
    assert (
        "fall of the worst class's recall: 0.3000, the champion's is 0.6000, above register.class_harm" in verdict["reasons"][1]
    )
    assert "(register.decide_on)" in register_these(place, better, decide_on="fresh")["reasons"][1]
    say(test_worst_class_recall="1.2.3", test_macro_f1=["0.9"])
    verdict = register_these(place, better)
    assert verdict["reasons"][1].endswith(
        "no harm beyond the limits (not compared: fall of the worst class's recall, growth of the mean corruption error, times as long)."
    )
    assert (verdict["champion"]["version"], "macro_f1" in verdict["champion"]["metrics"]) == ("1", False)


def test_fresh_parts_decide_one_after_the_other_until_they_are_used_up(place):
    second, third = (make(place, "lstm", training=name, wrong=range(100)) for name in ("second", "third"))
    asked = [register_these(place, folders, decide_on="fresh") for folders in (second, third, second)]
    used = [verdict["reasons"][1].partition(" (part ")[2][:7] for verdict in asked]
    assert used == ["1 of 10", "2 of 10", "1 of 10"]  # the same question is asked of the same samples
    assert [verdict["decisions"] for verdict in asked] == [1, 2, 2]
    test = arrays.load(place / "prepared/test")
    assert set(parts_of(test)) == set(range(PARTS))
    registry = Registry(tracking.connect(), "darkroom")
    for _ in range(PARTS - 2):
        registry.count_decision(test.content_digest() + FRESH)
    verdict = register_these(place, make(place, "lstm", training="fourth", wrong=[]), decide_on="fresh")
    assert "all 10 parts of this test split have decided" in verdict["reasons"][1]
    assert len(versions()) == 4

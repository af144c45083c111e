"""`darkroom compare`: the seeds of one recipe as one row, mean and spread, out of the tracking store alone."""

from pathlib import Path
from typing import Annotated

from components.shared import destination
from components.shared.errors import CannotRun

ON_VALIDATION = "validation/balanced_accuracy"
METRICS = ("test/balanced_accuracy", "test/worst_class_recall", "test/log_loss", ON_VALIDATION)
NOT_KNOBS = ("params.seed", "params.parameters", "params.training_samples")
FACTS = {"tags.data_digest": "data", "tags.git_commit": "code"}  # of a recipe, beside its knobs


def compare(
    *,
    metrics: Annotated[list[str], "columns, by their names in MLflow"] = METRICS,
    picture: Annotated[Path | None, "a new PNG that shows mean, standard deviation and each seed"] = None,
) -> None:
    """List each recipe (knobs, data and code alike, the seed aside): seeds, mean ± standard deviation of the metrics, what differs.

    The standard deviation is the one between seeds (n - 1). Of a seed that was trained twice the latest run counts.
    Seeds are made by `dvc exp run -S seed=8` and so on. The best on validation data come first. Raises CannotRun.
    """
    metrics = list(metrics or METRICS)
    if picture:
        destination.check_file(picture, ours=lambda _: False)
    runs = trainings(metrics)
    names = recipes(runs)
    groups = runs.groupby("tags.recipe")[metrics]
    seeds, mean, spread = groups.size(), groups.mean(), groups.std()
    best = mean.get(ON_VALIDATION, seeds)  # the test split orders nothing
    order = sorted(names, key=lambda recipe: (names[recipe].split()[0], -best[recipe], names[recipe]))
    lines = [("seeds", *metrics, "recipe")]
    lines += [(str(seeds[recipe]), *map(_cell, mean.loc[recipe], spread.loc[recipe]), names[recipe]) for recipe in order]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print("\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines))
    if picture:
        _draw(picture, [(names[recipe], runs[runs["tags.recipe"] == recipe]) for recipe in order], metrics)


def trainings(metrics: list[str]):
    """A pandas table of the trainings that have a recipe and one of the metrics, a row per recipe and seed. Raises CannotRun."""
    from components.shared.runs.connection import ask, connect, experiment, experiment_id

    mlflow = connect()
    found = ask(mlflow, lambda: mlflow.search_runs([experiment_id(mlflow)], "tags.recipe LIKE '%'"))
    there = [column.removeprefix("metrics.") for column in found if column.startswith("metrics.")]
    if unknown := [name for name in metrics if name not in there]:
        raise CannotRun(f"{', '.join(unknown)}: no training of the experiment {experiment()!r} has it; "
                        + (f"there are: {', '.join(sorted(there))}" if there else "`dvc repro` makes the first"))  # fmt: skip
    found = found.rename(columns={f"metrics.{name}": name for name in metrics}).dropna(subset=metrics, how="all")
    return found.drop_duplicates(["tags.recipe", "params.seed"])  # the newest come first


def recipes(runs) -> dict[str, str]:
    """Recipe -> its architecture, and of its knobs, data and code what other recipes of this architecture have otherwise."""
    names = {}
    columns = [column for column in runs if (column.startswith("params.") and column not in NOT_KNOBS) or column in FACTS]
    for architecture, rows in runs.groupby("tags.architecture"):
        each = rows.groupby("tags.recipe")[columns].first().fillna("-")
        each = each.loc[:, each.nunique() > 1]
        for recipe, row in each.iterrows():
            differs = [f"{FACTS.get(name, name.removeprefix('params.'))}={value[:12]}" for name, value in row.items()]
            names[recipe] = "".join(c if c.isprintable() else " " for c in " ".join([architecture, *differs]))
    return names


def _cell(mean: float, spread: float) -> str:
    if mean != mean:
        return "-"
    return f"{mean:.4f}" if spread != spread else f"{mean:.4f} ± {spread:.4f}"


def _draw(file: Path, rows: list, metrics: list[str]) -> None:
    from components.shared import plots

    size = {"width": 3.2 + 2.2 * len(metrics), "height": 1.1 + 0.4 * len(rows)}
    with plots.figure(file, **size, columns=len(metrics), title="Mean and standard deviation of seeds; a dot each") as axes:
        for column, (metric, axis) in enumerate(zip(metrics, axes if len(metrics) > 1 else [axes], strict=True)):
            for at, (_, runs) in enumerate(rows):
                values = runs[metric].dropna()
                axis.plot(values, [at + 0.2] * len(values), "o", color=plots.ORANGE, markersize=3)
                spread = values.std() if len(values) > 1 else 0
                axis.errorbar(values.mean(), at, xerr=spread, fmt="D", color=plots.BLUE, markersize=4, capsize=4)
            axis.set_title(metric)
            axis.set_yticks(range(len(rows)), ["" if column else plots.label(name, 34, 2) for name, _ in rows])
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.grid(axis="x", alpha=0.3)

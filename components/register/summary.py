"""The closing words of a run: CNN against LSTM as a table, the verdict, what to type next."""

from pathlib import Path
from typing import Annotated

from components.shared import files

_ROWS = (
    ("accuracy", "metrics", "accuracy", "{:.2%}"),
    ("balanced accuracy", "metrics", "balanced_accuracy", "{:.2%}"),
    ("macro F1", "metrics", "macro_f1", "{:.4f}"),
    ("worst class recall", "metrics", "worst_class_recall", "{:.2%}"),
    ("calibration error (ECE)", "metrics", "expected_calibration_error", "{:.4f}"),
    ("size, MiB", "cost", "model_mebibytes", "{:.2f}"),
    ("training, s", "cost", "training_seconds", "{:.0f}"),
    ("prediction, ms a sample", "cost", "prediction_milliseconds", "{:.3f}"),
)


def summary(registration: Annotated[Path, "what register wrote: outputs/registration.json"]) -> None:
    """Show the models side by side on the test split, the verdict, and what to type next."""
    verdict = files.read_json(registration)
    candidates = verdict["candidates"]
    width = max(14, *(len(candidate["name"]) + 2 for candidate in candidates))
    samples = candidates[0]["metrics"]["samples"]
    print(f"\n{f'{samples:,} test samples':26}" + "".join(f"{candidate['name']:>{width}}" for candidate in candidates))
    for name, part, key, form in _ROWS:
        print(f"{name:26}" + "".join(f"{form.format(candidate[part][key]):>{width}}" for candidate in candidates))
    print(f"{'registered as version':26}" + "".join(f"{candidate['version'] or '-':>{width}}" for candidate in candidates))
    print()
    if verdict["accepted"]:
        print(f"champion of `{verdict['model']}`: version {verdict['version']}")
    else:
        print(f"`{verdict['model']}`: no new champion")
    for reason in [*verdict["reasons"], *(r for c in candidates if not c["version"] for r in c["reasons"])]:
        print(f"  {reason}")
    print(
        "\nnext:\n"
        "  make ui                                   compare the runs in MLflow\n"
        "  ls outputs/evaluation/*/                  confusion, calibration, worst mistakes, where the network looked\n"
        "  edit params.yaml, then dvc repro          only what a knob touches runs again\n"
        "  darkroom ingest FOLDER data --replace && dvc add data && make run      your own pictures"
    )

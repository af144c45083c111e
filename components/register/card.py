"""The model card (Mitchell et al., 2019): what a version is, what it was measured on, what it is not for."""

from components.register.candidates import Candidate

_ROWS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "worst_class_recall",
    "expected_calibration_error",
    "log_loss",
    "coverage",
)
_SLICES = 3

_BEGUN = {"nothing": "nothing", "efficientnet-lite0": "ImageNet's weights (EfficientNet-Lite0, Apache-2.0)"}


def card(candidate: Candidate, reasons: list[str]) -> str:
    """Markdown for the version's description in the registry."""
    record, metrics, cost = candidate.record, candidate.metrics, candidate.cost
    shape = record["shape"]
    kind = f"clips of up to {shape[0]} frames" if len(shape) == 4 else "stills"
    height, width, channels = shape[-3:]
    table = "\n".join(
        f"| {name.replace('_', ' ')} | {metrics[name]:.4f}{_interval(candidate, name)} |" for name in _ROWS if name in metrics
    )
    twins = {
        name: f"{candidate.twins[name]:,}" if name in candidate.twins else "not counted" for name in ("train", "validation")
    }
    begun = record["tags"].get("begun_from", "nothing")
    begun = _BEGUN.get(begun, f"`{begun}`, a network of your own")
    classes, more = ", ".join(f"`{name}`" for name in record["classes"][:50]), ", ..." if len(record["classes"]) > 50 else ""
    return f"""\
**{record["name"]}** recognises {len(record["classes"])} classes of {kind}: {classes}{more}.

| on {metrics["samples"]:,} test samples | value (95% interval) |
|---|---|
{table}
| test samples with a near twin in training | {twins["train"]} |
| test samples with a near twin in validation | {twins["validation"]} |
| training | {cost["training_seconds"]:.0f} s |
| size | {cost["model_mebibytes"]:.1f} MiB, {cost["parameters"]:,} parameters |

**Verdict**: {" ".join(reasons)}

**Weakest parts**: {_weakest(candidate)}

**Under damage**: {_damage(candidate)}

**Input**: uint8 ({", ".join(map(str, shape))}), {"grey" if channels == 1 else "RGB"} of {width}x{height} px, resized as \
`prepare` does; pixels are scaled inside the model. **Output**: a probability per class, in the order above.

**Made from**: data `{record["data_digest"]}`, code `{record["tags"]["git_commit"]}`; the training began from {begun}. \
The model's `provenance.json` and `sbom.json` name locks, image and packages.

**Limits**: The figures hold for pictures like those of the test split. On other pictures the model is less often right, and \
no less confident. A picture of a class that is not in the list gets one of the classes in the list. On average, confidence \
differs from accuracy by {metrics["expected_calibration_error"]:.1%}. Prediction sets promise the true class in \
{candidate.package.calibration.coverage:.0%} of cases.
"""


def _interval(candidate: Candidate, name: str) -> str:
    low, high = candidate.intervals.get(name) or (None, None)
    return "" if low is None else f" ({low:.4f} to {high:.4f})"


def _weakest(candidate: Candidate) -> str:
    told = [f"{row['column']} `{row['value']}`: accuracy {float(row['accuracy']):.4f} of {row['samples']}"
            for row in candidate.slices[:_SLICES]]  # fmt: skip
    return f"{'; '.join(told)}." if told else "not measured."


def _damage(candidate: Candidate) -> str:
    if not candidate.stress:
        return "not measured."
    worst = candidate.stress["worst"]
    return (f"mean corruption error {candidate.stress['mean_corruption_error']:.4f}; worst is {worst['damage']} at strength "
            f"{worst['strength']}, with accuracy {worst['accuracy']:.4f}.")  # fmt: skip

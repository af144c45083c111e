"""`darkroom watch ANSWERS... --model MODEL`: has the world moved away from what the model has learnt?"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from components.shared import destination, files
from components.shared.errors import CannotRun, Refused


def watch(
    answers: Annotated[list[Path], "Parquet files that `darkroom predict` wrote, or folders of them"],
    *,
    model: Annotated[str, "that gave the answers: a package's folder, models:/NAME@alias, models:/NAME/3, a URI"],
    page: Annotated[Path | None, "an HTML file that shows what moved"] = None,
    prometheus: Annotated[Path | None, "a file of gauges, FILE.prom, for node exporter's textfile collector"] = None,
    json: Annotated[Path | None, "a file of all figures"] = None,
) -> None:
    """Compare answers with the validation data of the model. Exit code 1 when they call for a new training, 0 when not.

    Raises Refused with a line for each thing that moved, CannotRun where nothing can be compared.
    """
    from components.shared.runs.packages import fetched
    from components.watch import watch_page
    from components.watch.outcome import Outcome

    ours = {page: b": Darkroom</title>", prometheus: b"# HELP darkroom_watch_", json: b'{\n  "accuracy": '}
    for file, mark in ours.items():
        if file:
            destination.check_file(file, ours=_holds(mark), inputs=answers)
    with fetched(model) as package:
        outcome = Outcome.of(answers, package)
    if page:
        watch_page.write(outcome, page, ours=_holds(ours[page]))
    if prometheus:
        with files.whole_file(prometheus, ours=_holds(ours[prometheus])) as temporary:
            outcome.gauges(temporary)
    if json:
        files.write_json(json, outcome.record(), ours=_holds(ours[json]))
    try:
        outcome.send()
    except CannotRun as error:
        print(f"tracking: {error}; this watch is no run there")
    print(f"watch: {outcome.summary}")
    lines = [f"watch: {finding}" for finding in outcome.findings]
    if outcome.drift:
        raise Refused(*lines, f"watch: {outcome.remedy}")
    print("\n".join([*lines, "watch: no drift"]))


def _holds(mark: bytes) -> Callable[[Path], bool]:
    """Whether a file is one that an earlier watch wrote."""
    return lambda file: mark in file.read_bytes()[:4096]

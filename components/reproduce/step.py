"""A run of MLflow -> its code, data and knobs in a clean folder, trained and scored again, and what came out held against it."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from components.reproduce.differences import Record, differences
from components.shared import config, deadline, files, scratch
from components.shared.errors import CannotRun, Refused

SECONDS = 600.0  # for git and DVC to bring code and data
SPLITS = {"validation/": "outputs/models/{}/run.json", "test/": "outputs/evaluation/{}/metrics.json"}
OLDER = {"model_validation_": "validation/", "test_": "test/"}  # how runs of an older Darkroom name them


def reproduce(
    run_id: Annotated[str, "of a training, as MLflow's page of the run and a version's lineage show it"],
    *,
    into: Annotated[Path | None, "a new folder, which stays; without it, outputs/reproduced/RUN_ID"] = None,
    tolerance: Annotated[float, "by so much a metric may differ", Ge(0)] = 0.005,
) -> None:
    """Run a training again, in a clone of its commit with its data and knobs, and compare. Type it in a clone of the project.

    Raises Refused when a metric differs by more than the tolerance while nothing else does, CannotRun when code, data or the run are
    not to be had.
    """
    then = _recorded(run_id)
    _refuse_strange(run_id, then.record)
    place = (into or Path("outputs/reproduced") / run_id).absolute()
    if place.exists():
        raise CannotRun(f"{place}: is there already, expected a new folder; remove it, or name another one by --into")
    architecture = then.record["tags"]["architecture"]
    _clone(then, place)
    _bring_data(then.record["data_digest"], place)
    _set_knobs(then, place / "params.yaml")
    print(f"reproduce: {then.record['name']} at {place}", flush=True)
    # Neither DVC's record nor what it keeps of earlier runs may answer in place of the training.
    (place / "dvc.lock").unlink(missing_ok=True)
    repro = [sys.executable, "-m", "dvc", "repro", "--no-run-cache", "--no-commit", f"evaluate@{architecture}"]
    if code := subprocess.run(repro, cwd=place, env=_environment(place), check=False).returncode:
        raise CannotRun(f"reproduce: `dvc repro` ended with {code} in {place}; it says above why")
    now = _made(place, architecture)
    found = differences(then, now)
    _judge(then.metrics, now.metrics, found, tolerance)


def _recorded(run_id: str) -> Record:
    """What MLflow has of a training. Raises CannotRun."""
    from mlflow.exceptions import MlflowException

    from components.shared.runs import logged_model, provenance, tracking
    from components.shared.runs.connection import ask

    mlflow = tracking.connect()
    client = mlflow.MlflowClient()

    def read() -> Record:
        try:
            run = client.get_run(run_id)
            with scratch.folder("run") as folder:
                record = files.read_json(logged_model.fetch(run.info.artifact_uri, "run.json", folder))
                sbom, statement = {}, {}
                if model := run.data.tags.get(logged_model.ID):
                    address = logged_model.find(client, model).artifact_location
                    sbom = files.read_json(logged_model.fetch(address, provenance.PACKAGES, folder))
                    statement = files.read_json(logged_model.fetch(address, provenance.STATEMENT, folder))
        except (MlflowException, logged_model.Unusable) as error:
            if getattr(error, "error_code", "") not in ("", "INVALID_PARAMETER_VALUE", *logged_model.GONE):
                raise
            raise CannotRun(f"{run_id}: no training that ended, or one of an older Darkroom ({str(error)[:200]}); expected the id "
                            "of a run that has a run.json and a model") from None  # fmt: skip
        evaluated = json.loads(run.data.tags.get("knobs.evaluate", "{}"))
        metrics = {_named(name): value for name, value in run.data.metrics.items() if _named(name).startswith(tuple(SPLITS))}
        return Record(record, metrics, evaluated, provenance.versions(sbom), provenance.processor_of(statement))

    return ask(mlflow, read)


def _named(metric: str) -> str:
    return next((new + metric.removeprefix(old) for old, new in OLDER.items() if metric.startswith(old)), metric)


def _refuse_strange(run_id: str, record: dict) -> None:
    """Raise CannotRun for a record that is not of ours: what it says becomes names of files, and what anyone may have written."""
    tags = record.get("tags", {})
    for name, text, form in (
        ("data_digest", record.get("data_digest"), "[0-9a-f]{32}([.]dir)?"),
        ("git_commit", tags.get("git_commit"), "([0-9a-f]{40,64}|unknown)([+][a-z]+)?"),
        ("architecture", tags.get("architecture"), "cnn|lstm"),
    ):
        if not re.fullmatch(form, str(text)):
            raise CannotRun(f"{run_id}: its {name} is {str(text)[:60]!r}, expected {form}; it is not run")


def _made(place: Path, architecture: str) -> Record:
    """The same of what has just been made."""
    from components.shared.runs import provenance

    model, scored = (files.read_json(place / name.format(architecture)) for name in SPLITS.values())
    figures = zip(SPLITS, (model["validation"], scored), strict=True)
    metrics = {start + name: value for start, values in figures for name, value in values.items()}
    return Record(model, metrics, {}, provenance.versions(json.loads(provenance.packages())), provenance.processor())


def _clone(then: Record, place: Path) -> None:
    """A clone of this repository at the run's commit."""
    commit = then.record["tags"]["git_commit"].partition("+")[0]
    if commit == "unknown" or _call("git", "cat-file", "-e", f"{commit}^{{commit}}").returncode:
        raise CannotRun(f"reproduce: this repository has no commit {commit}, which the run names; `git fetch` it, or type this in the "
                        "clone that it was made in")  # fmt: skip
    place.parent.mkdir(parents=True, exist_ok=True)
    _must("git", "clone", "--quiet", "--no-checkout", ".", str(place))
    _must("git", "checkout", "--quiet", "--detach", commit, cwd=place)
    backbones = Path("backbones")
    if then.record["tags"].get("begun_from", "nothing") != "nothing" and backbones.is_dir():
        shutil.copytree(backbones, place / backbones, dirs_exist_ok=True)


def _bring_data(digest: str, place: Path) -> None:
    """The data of this digest as `data/`, out of this project's cache or its remotes."""
    (place / "data.dvc").write_text(f"outs:\n- md5: {digest}\n  hash: md5\n  path: data\n", encoding="ascii")
    if (own := Path(".dvc/config.local")).is_file():
        shutil.copy(own, place / own)
    dvc = (sys.executable, "-m", "dvc")
    _must(*dvc, "cache", "dir", "--local", _must(*dvc, "cache", "dir"), cwd=place)
    if _call(*dvc, "checkout", "data.dvc", cwd=place).returncode:
        for line in _must(*dvc, "remote", "list").splitlines():  # here, where what is relative leads somewhere
            name, _, address = line.removesuffix("(default)").strip().partition("\t" if "\t" in line else " ")
            _must(*dvc, "remote", "modify", "--local", name, "url", address.strip(), cwd=place)
        _must(*dvc, "pull", "--quiet", "data.dvc", cwd=place)


def _set_knobs(then: Record, file: Path) -> None:
    """The knobs of the run in place of the commit's, where they are others."""
    import yaml

    params = config.read_params(file)
    wanted = {**then.record["knobs"], "evaluate": then.evaluated}
    architecture = then.record["tags"]["architecture"]
    for name, values in wanted.items():
        if isinstance(values, dict):
            section = params["train"][architecture] if name == "train" else params.get(name, {})
            section.update({knob: value for knob, value in values.items() if knob in section})
        else:
            params[name] = values
    file.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def _environment(place: Path) -> dict[str, str]:
    """This one, without what would send results to the team's server, or take the code from elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DARKROOM_", "GIT_"))}
    return kept | {"PYTHONPATH": str(place), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"}


def _judge(before: dict[str, float], after: dict[str, float], found: list[str], tolerance: float) -> None:
    names = [name for name in before if name in after]
    print(f"\n{'metric':44}{'then':>12}{'now':>12}{'difference':>14}")
    for name in names:
        print(f"{name[:43]:44}{before[name]:12.4f}{after[name]:12.4f}{after[name] - before[name]:+14.4f}")
    print(
        "\n" + "\n".join(f"differs: {one}" for one in found or ["nothing: code, data, knobs, packages, processor, precision"])
    )
    apart = {name: abs(after[name] - before[name]) for name in names}
    worst = max(apart, key=lambda name: apart[name] if math.isfinite(apart[name]) else math.inf, default="")
    if not worst:
        raise CannotRun("reproduce: the run has no metrics to compare with")
    said = f"{worst} differs by {apart[worst]:.4f}, the tolerance is {tolerance:g}"
    if apart[worst] <= tolerance:
        print(f"reproduced: no metric differs by more than {tolerance:g}")
    elif found:
        print(f"not reproduced: {said}; what else differs may be the reason")
    else:
        raise Refused(f"reproduce: {said}, and nothing else differs")


def _call(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    return deadline.command(command, seconds=SECONDS, cwd=cwd)


def _must(*command: str, cwd: Path | None = None) -> str:
    done = _call(*command, cwd=cwd)
    if done.returncode:
        name = " ".join(command[2 if command[0] == sys.executable else 0 :][:3])
        raise CannotRun(f"reproduce: {name}: {(done.stderr.strip().splitlines() or ['failed'])[-1][:300]}")
    return done.stdout.strip()

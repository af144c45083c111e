"""Run a step from a wrapper's body: the image's code and the inputs checked, outputs sealed, a verdict or the reason of a failure left.

A seal is the sha256 of an artifact's files, in its metadata. It detects artifacts that were changed or truncated between two
steps, and ties a cache entry to its content.
"""

import contextlib
import hashlib
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kfp.dsl import HTML, Artifact, Markdown

from components import IN_GRAPHS
from components.shared import failures, files, screen
from components.shared.errors import CannotRun, Refused
from components.shared.runs.pipeline_run import say
from components.shared.store import open_store
from pipelines import artifacts as show
from pipelines import graph, indexed_job, newest

SEAL = "sha256"
# Kubernetes shows what a container left here as the reason of its end; a local run names a file of its own.
REASON_FILE, KUBERNETES = "DARKROOM_REASONS", "/dev/termination-log"
JUDGES = ("validate", "register")  # what they refuse is a verdict, and no failure: its reasons are worth keeping
PASSED = "ok"
PARTS = "DARKROOM_PARTS"  # new shards that a step does itself, and pods at once that do more: 4/8


def call(step: str, *, config: str = "", code: str = "", shown: Sequence[Artifact] = (), last: str = "", **values: Any) -> str:
    """Run a step, such as `train cnn`; returns its verdict: `ok`, or of one that judges `refused: why`.

    An artifact, or a list of them, stands for its path; `config` is the step's section as JSON, `code` what the pipeline was
    compiled from, `shown` what the UI shows, also of what was refused (see `artifacts.SHOW`); pages of it go to MLflow, too.
    `last` is the key of a schedule's run (see `newest`) that is done with this step. A step that fails ends the process with its exit code.
    """
    from components.__main__ import call as run

    name, section = step.split()[0], section_of(step)
    artifacts = [item for value in values.values() for item in (value if isinstance(value, list) else [value])]
    artifacts = [item for item in artifacts if isinstance(item, Artifact)]
    verdict = PASSED
    with ending(step):
        refuse_other_code(code)
        say(step, "running")
        for artifact in artifacts:
            check(artifact)
        plain = {key: _plain(value) for key, value in values.items()}
        plain |= {"config": knobs(config, section)} if config else {}
        if IN_GRAPHS[name].parts:
            _spread(step, data=plain["data"], digest=plain.get("digest", ""), config=config, code=code)
        try:
            run(name, section=section, **plain)
        except Refused as refused:
            if name not in JUDGES:
                raise
            verdict = f"refused: {_first(refused.faults)}"
        if shown:
            why = show.SHOW[name](Path(artifacts[-1].path), *shown)
            verdict = f"refused: {why}" if why and verdict != PASSED else verdict
        if last and verdict == PASSED:
            newest.keep(last)
    for artifact in artifacts:
        artifact.metadata.setdefault(SEAL, seal(Path(artifact.path)))
    state, _, why = verdict.partition(": ")
    say(
        step, "succeeded" if state == PASSED else state, why, [page.path for page in shown if isinstance(page, HTML | Markdown)]
    )
    if verdict != PASSED:
        leave(step, verdict)
        print(f"{step}: {verdict}", file=sys.stderr)
    return verdict


def part(step: str, *, share: str, data: str, digest: str, config: str, code: str) -> None:
    """Compute a share (`i/n`) of what the store lacks of a step's results, and keep it. Ends the process when that fails."""
    from components.__main__ import parts

    with ending(step):
        refuse_other_code(code)
        kept = parts(step, section=step, data=data, digest=digest, config=knobs(config, step))
        missing = kept.missing(share)
        kept.make(missing)
        print(f"{step}: part {share}: {screen.number(len(missing), 'shard')}")


def _spread(step: str, *, data: str, digest: str, config: str, code: str) -> None:
    """On a cluster, where the store lacks the results of many shards: have them computed by pods beside this one."""
    from components.__main__ import parts

    if not os.environ.get(PARTS) or not indexed_job.possible():
        return
    each, at_once = (int(number) for number in os.environ[PARTS].split("/"))
    kept = parts(step, section=step, data=data, digest=digest, config=knobs(config, step))
    missing = len(kept.missing()) if kept else 0
    if missing > each:
        work = {"data": data, "digest": digest, "config": config, "code": code}
        indexed_job.run(step, work, parts=math.ceil(missing / each), at_once=at_once)


def gate(verdict: str, *, step: str) -> str:
    """Hand on the verdict `ok`; end the process with any other as the reason."""
    if verdict != PASSED:
        leave(step, verdict)
        print(f"{step}: {verdict}", file=sys.stderr)
        sys.exit(1)
    return verdict


@contextlib.contextmanager
def ending(step: str) -> Iterator[None]:
    """End the process with its exit code when the block fails, and leave the reason; the traceback of a fault goes to the log."""
    try:
        yield
    except Exception as error:
        failure = failures.explain(error)
        leave(step, failure.reason)
        say(step, "refused" if failure.code == 1 else "failed", failure.reason)
        if failure.code == failures.FAULT:
            print(failures.details(error), file=sys.stderr)  # a container's files are gone with it
        print(failure.reason, file=sys.stderr)
        sys.exit(failure.code)


def section_of(step: str) -> str:
    """Where the knobs of a step stand in params.yaml: `train.cnn` of `train cnn`, `evaluate` of `evaluate cnn`."""
    name, section = step.split()[0], step.replace(" ", ".")
    return section if section in IN_GRAPHS[name].sections else name


def knobs(config: str, section: str) -> dict:
    """A section as it comes from Kubeflow, JSON. Raises CannotRun."""
    try:
        return dict(json.loads(config))
    except (ValueError, TypeError):
        raise CannotRun(f"{section}: expected a section of knobs as JSON ({{name: value}}), got {config[:80]!r}") from None


def chosen(model: str) -> str:
    """The model that answers, as JSON: an alias as the version that it names now, and the digest of the package."""
    from components.shared.runs import packages

    with ending("predict"), packages.fetched(model) as found:
        alias, version = "@" in model, found.facts.get("version")
        return json.dumps(
            {"model": f"{model.partition('@')[0]}/{version}" if alias and version else model, "package": found.digest}
        )


def refuse_other_code(code: str) -> None:
    """Raise CannotRun unless this image holds the code that the pipeline was compiled from; `code` may have a suffix behind `+`."""
    wanted, here = code.partition("+")[0], graph.code_digest()
    if wanted and wanted != here:
        raise CannotRun(f"the image holds code {here}, the pipeline was compiled from {wanted}; `make image`, push it, and set "
                        "DARKROOM_IMAGE, or submit from the commit of the image")  # fmt: skip


def check(artifact: Artifact) -> None:
    """Raise CannotRun when an artifact is not what its maker sealed; the store keeps that it must be made anew.

    Of an output there is no seal yet.
    """
    if SEAL not in artifact.metadata or seal(Path(artifact.path)) == artifact.metadata[SEAL]:
        return
    with contextlib.suppress(CannotRun):
        if store := open_store():
            store.write(f"{newest.AGAIN}/{hashlib.sha256(artifact.uri.encode()).hexdigest()[:16]}", artifact.uri)
    raise CannotRun(f"{artifact.uri}: changed since it was made; run again, it is made anew")


def seal(path: Path) -> str:
    """sha256 over the names and contents of a folder's files, or of one file."""
    return files.digest_of(path, "**/*") if path.is_dir() else files.digest(path)


def leave(step: str, reason: str, file: str = "") -> None:
    """Append the reason to the file that the exit handler reads, which is known to a step's own process."""
    file = Path(file or os.environ.get(REASON_FILE, KUBERNETES))
    if file.exists():
        with file.open("a", encoding="utf-8") as stream:
            stream.write(f"{step}: {_first(reason.splitlines() or [''])}\n")


def _first(faults: list[str] | tuple[str, ...]) -> str:
    first, *others = faults
    return first[:1000] + (f" (and {len(others)} more, in the step's log)" if others else "")


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.path if isinstance(value, Artifact) else value

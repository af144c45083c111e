"""A kubectl on PATH whose cluster is a list of looks: each `get deployment` shows the next, the last one for ever.

A look is (Deployment, pods, events); "MARK" in it stands for the annotation that the applied pods carry. `apply` keeps what it got.
"""

import json
import re
import stat
import sys
from pathlib import Path

SCRIPT = """#!{python}
import json, pathlib, sys
sys.path.insert(0, {tests!r})
import kubectl_double
kubectl_double.answer(pathlib.Path(__file__).parent, sys.argv[1:])
"""


class Kubectl:
    """Looks as `deployment`, `pod` and `event` below make them; `refusal`: stderr of `apply`, which then fails."""

    def __init__(self, folder: Path) -> None:
        self.folder, script = folder, folder / "kubectl"
        folder.mkdir()
        script.write_text(SCRIPT.format(python=sys.executable, tests=str(Path(__file__).parent)))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    def shows(self, *looks: dict | None, refusal: str = "") -> None:
        (self.folder / "looks.json").write_text(json.dumps({"looks": looks, "refusal": refusal}))
        for name in ("at", "calls", "applied.yaml"):
            (self.folder / name).unlink(missing_ok=True)

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]

    @property
    def applied(self) -> str:
        return (self.folder / "applied.yaml").read_text()


def answer(folder: Path, arguments: list[str]) -> None:
    with (folder / "calls").open("a") as stream:
        stream.write(json.dumps(arguments) + "\n")
    known = json.loads((folder / "looks.json").read_text())
    if arguments[0] == "apply":
        if known["refusal"]:
            sys.exit(known["refusal"])
        (folder / "applied.yaml").write_bytes(Path(arguments[arguments.index("-f") + 1]).read_bytes())
        return print("deployment.apps/it configured")
    at = folder / "at"
    number = int(at.read_text()) if at.exists() else -1
    if arguments[1] == "deployment":
        number = min(number + 1, len(known["looks"]) - 1)
        at.write_text(str(number))
    look = known["looks"][number]
    if isinstance(look, str):
        sys.exit(look)
    content = (
        look
        and {"deployment": look["deployment"], "pods": {"items": look["pods"]}, "events": {"items": look["events"]}}[
            arguments[1]
        ]
    )
    mark = re.search(r"darkroom/pod: '?(\w+)", (folder / "applied.yaml").read_text())[1]
    print(json.dumps(content).replace("MARK", mark) if content else "", end="")


def look(pods: list[dict], *, ready: int = 0, old: int = 0, mark: str = "MARK", observed: int = 2, events: tuple[str, ...] = (),
         conditions: tuple[dict, ...] = ()) -> dict:  # fmt: skip
    """Two replicas are wanted; `old`: pods of before that are still there, all of them available."""
    status = {"observedGeneration": observed, "updatedReplicas": len(pods), "replicas": len(pods) + old,
              "availableReplicas": ready + old, "conditions": conditions}  # fmt: skip
    template = {"metadata": {"annotations": {"darkroom/pod": mark}}}
    deployment = {"metadata": {"generation": 2}, "spec": {"replicas": 2, "template": template}, "status": status}
    return {"deployment": deployment, "pods": pods, "events": [{"message": text} for text in events]}


def condition(kind: str, status: str, reason: str = "", message: str = "") -> dict:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def pod(name: str, *, ready: bool = False, mark: str = "MARK", created: str = "2026-11-26T12:00:00Z", fetching: dict | None = None,
        serving: dict | None = None, restarts: int = 0, conditions: tuple[dict, ...] = ()) -> dict:  # fmt: skip
    """`fetching`, `serving`: the states of its two containers, as Kubernetes writes them."""
    one = {"restartCount": restarts, "state": fetching or {"terminated": {"exitCode": 0}}}
    status = {"initContainerStatuses": [one], "containerStatuses": [{"restartCount": 0, "state": serving or {}}],
              "conditions": [condition("Ready", str(ready)), *conditions]}  # fmt: skip
    return {"metadata": {"name": name, "creationTimestamp": created, "annotations": {"darkroom/pod": mark}}, "status": status}

"""What a person can do about a step that waits or failed, by the words of Kubernetes, Argo and Darkroom."""

import re

STEPS = "under `steps` in pipelines/settings.yaml"
# The remedies themselves stand once, in cluster.py, with the names of the place.
CHECK = "`python -m pipelines check` tells the command that mends it; infra/README.md has all of them"
KINDS = (  # words of the reason, what a waiting pod waits for, what to do
    (r"refused: ", "", "mend what it names; the report of `validate` or `register` has all of it"),
    (r"the image holds code", "", "`make image`, push it, and name it in DARKROOM_IMAGE"),
    (r"service account|serviceaccount|forbidden|no configuration has been provided", "an account with its rights", CHECK),
    (r"secret|configmap|CreateContainerConfigError", "a secret", CHECK),
    (r"Unschedulable|Insufficient|exceeded quota", "room", CHECK),
    (r"image", "its image", "DARKROOM_IMAGE names one that the nodes can pull, or load it onto them (infra/README.md)"),
    (r"out of memory|memory ran out", "", f"give it more `memory` {STEPS}"),
    (r"deadline", "", f"it took longer than its `timeout` {STEPS}, or its pod never began: image, secret"),
)
SAME = r"refused: |changed since it was made|the image holds code|out of memory"  # tried again as it was, it ends the same


def about(reason: str) -> tuple[str, str]:
    """What it waits for and what to do; empty where the reason says nothing of it."""
    return next(((thing, remedy) for words, thing, remedy in KINDS if re.search(words, reason, re.I)), ("", ""))


def after(reason: str, *, lost: bool, run_id: str) -> str:
    """What to do after a failure: how to mend it, and which command goes on."""
    again = f"`python -m pipelines retry {run_id}` goes on from this step"
    if lost:
        return f"its pod was taken away: {again}"
    remedy = about(reason)[1]
    anew = "`python -m pipelines submit` starts anew, and takes from the cache what was done"
    return (f"{remedy}; then " if remedy else "") + anew + ("" if re.search(SAME, reason) else f"; {again}, as it was")

"""One command back to a former champion, by the alias that all who predict and serve go by."""

import functools
from typing import Annotated

from components.shared.errors import CannotRun


def rollback(
    *,
    to: Annotated[str, "the version's number; without it, the champion before the present one"] = "",
    reason: Annotated[str, "why, for all who read the history"] = "no reason given",
    name: Annotated[str, "the registered model"] = "darkroom",
) -> None:
    """Make a former champion champion again, once its package is seen to be whole. The history gets an entry of its own.

    Raises CannotRun where there is nothing to go back to, or when it is not what was registered; then nothing changes.
    """
    from components.shared.runs import tracking
    from components.shared.runs.packages import fetched
    from components.shared.runs.registry import Registry
    from components.shared.runs.turns import turn

    mlflow = tracking.connect()
    registry = Registry(mlflow, name, make=False)
    champion = registry.champion()
    if not champion:
        raise CannotRun(f"rollback: {name} has no champion; `dvc repro register` makes one")
    present, version = str(champion.version), to or registry.previous()
    if not version:
        raise CannotRun(f"rollback: no version of {name} was champion before version {present}; name one by --to")
    if to and to not in (known := sorted({move.version for move in registry.log()} - {""}, key=int)):
        raise CannotRun(f"rollback: version {to} of {name} was never champion; there were: {', '.join(known)}")
    if version == present:
        raise CannotRun(f"rollback: version {version} of {name} is the champion already")
    with fetched(f"models:/{name}/{version}"):
        pass  # whole, and what was registered
    with turn(mlflow, registry.client, name, version) as write:
        unchanged = str(getattr(registry.champion(), "version", "")) == present
        if not (unchanged and write(functools.partial(registry.rollback, version, reason))):
            raise CannotRun(f"rollback: another process moved the champion of {name} meanwhile; look at `darkroom history`")
    print(f"{name}: version {version} is champion again, version {present} no more; servers of models:/{name}@champion follow")

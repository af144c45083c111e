"""Send the data to DVC's remote and make it the newest there: schedules without a digest of their own read it."""

import argparse
import sys
from pathlib import Path

from components.shared import deadline
from components.shared.errors import CannotRun
from components.shared.store import Store
from pipelines import graph

POINTER = Path("data.dvc")
WHOLE = 86_400  # seconds for the data


def publish(options: argparse.Namespace) -> int:
    """`dvc push`, then a copy of data.dvc in the remote, in this order: what it names is there. Raises CannotRun."""
    from components.shared.data import remote

    digest, address = graph.recorded_digest(POINTER), graph.default_remote()
    if "://" not in address:
        raise CannotRun(
            f"DVC's default remote {address}: a cluster cannot reach a folder of this machine; `dvc remote add -d` another"
        )
    pushed = deadline.command([sys.executable, "-m", "dvc", "push", str(POINTER)], seconds=WHOLE)
    if pushed.returncode:
        reason = next(iter((pushed.stderr or pushed.stdout).strip().splitlines()[-1:]), "no reason given")
        raise CannotRun(f"dvc push: {reason}")
    remote.listing(address, digest)
    Store(address).put(POINTER.name, POINTER)
    print(f"{address}: {digest} is the newest data; schedules take it at their next run")
    return 0

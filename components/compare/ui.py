"""`make ui`: MLflow's own UI, quiet, with links to what people look for.

MLflow 3 opens as a tool for traces of language models. `workflowType=machine_learning` in an address shows runs and models.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Annotated
from urllib.parse import quote

from annotated_types import Ge, Le

from components.compare.step import METRICS, ON_VALIDATION
from components.shared.errors import CannotRun

MODE = "workflowType=machine_learning"
# Views as MLflow's own button Views keeps them in tags of the experiment, by the name that stands in an address.
VIEW, RUNS, RECIPES = "mlflow.sharedViewState.", "table", "recipes"
COLUMNS = ["params.`seed`", *(f"metrics.`{name}`" for name in METRICS)]
BY_RECIPE = {"aggregateFunction": "average",
             "groupByKeys": [{"mode": "tag", "groupByData": name} for name in ("architecture", "recipe")]}  # fmt: skip
# Sorted by a metric, MLflow shows trainings without the pipeline runs above them. The test split selects nothing.
BEST = {"searchFilter": "tags.recipe LIKE '%'", "orderByKey": f"metrics.`{ON_VALIDATION}`", "orderByAsc": False,
        "selectedColumns": COLUMNS, "chartsSearchFilter": "^(by_epoch|test|validation)/.*(balanced_accuracy|loss)$"}  # fmt: skip
VIEWS = {RUNS: BEST, RECIPES: BEST | {"groupBy": BY_RECIPE}}
START = 120.0  # seconds that the server gets to answer first
SETTINGS = {"MLFLOW_LOGGING_LEVEL": "ERROR", "PYTHONWARNINGS": "ignore",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # no jobs for whoever reaches it, and no processes for them  # fmt: skip


def ui(*, port: Annotated[int, "of 127.0.0.1, where the UI answers", Ge(1), Le(65535)] = 5000) -> None:
    """Serve MLflow's UI of the project's store until Ctrl-C, and print where runs, a comparison and the registry are.

    Where MLFLOW_TRACKING_URI names a server, print the same places there. Raises CannotRun when the port is taken.
    """
    from components.shared.masking import masked
    from components.shared.runs.connection import ARTIFACTS, connect

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: no server stays behind
    mlflow = connect()
    if (store := mlflow.get_tracking_uri()).startswith("http"):
        print("\n".join(links(mlflow, masked(store))))
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CannotRun(
                f"port {port} of this machine: {error.strerror.lower()}; `make ui PORT={port + 1}` takes another"
            ) from None
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store, "--artifacts-destination", str(ARTIFACTS.absolute()),
               "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level error"]  # fmt: skip
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | SETTINGS) as server,
    ):
        try:
            _wait(server, port, log)
            print("\n".join(links(mlflow, f"http://127.0.0.1:{port}")), "Ctrl-C ends it.", sep="\n", flush=True)
            server.wait()
        except KeyboardInterrupt:
            print()
        finally:
            server.terminate()


def links(mlflow, server: str) -> list[str]:
    """A line for each place: the runs, the seeds of a recipe as one group, the latest pipeline run's trainings, the registry."""
    from components.shared.runs.connection import ask, experiment_id
    from components.shared.runs.pipeline_run import PARENT, TRAINING
    from components.shared.runs.registry import ALIAS

    def look() -> list[str]:
        client, experiment = mlflow.MlflowClient(), experiment_id(mlflow)
        trainings = client.search_runs([experiment], f"tags.`{TRAINING}` LIKE '%'", max_results=50)
        groups: dict[str, list[str]] = {}
        for run in trainings:
            groups.setdefault(run.data.tags.get(PARENT, ""), []).append(run.info.run_id)
        for view, state in VIEWS.items():
            client.set_experiment_tag(experiment, f"{VIEW}{view}", json.dumps(state))
        runs = f"{server}/#/experiments/{experiment}/runs?{MODE}&viewStateShareKey="
        lines = [f"Runs       {runs}{RUNS}", f"Seeds      {runs}{RECIPES}&compareRunsMode=CHART"]
        if latest := next((group[:10] for group in groups.values() if len(group) > 1), None):
            both = (quote(json.dumps(ids, separators=(",", ":"))) for ids in (latest, [experiment]))
            lines.append(f"Compare    {server}/#/compare-runs?runs={{}}&experiments={{}}&{MODE}".format(*both))
        for model in client.search_registered_models(max_results=3):
            page = f"{server}/#/models/{quote(model.name, safe='')}"
            lines.append(f"Registry   {page}?{MODE}")
            if champion := model.aliases.get(ALIAS):
                lines.append(f"Champion   {page}/versions/{champion}?{MODE}")
        return lines

    return ask(mlflow, look)


def _wait(server: subprocess.Popen, port: int, log) -> None:
    """Until the server answers. Raises CannotRun with the last line that it wrote."""
    end = time.monotonic() + START
    while server.poll() is None and time.monotonic() < end:
        with socket.socket() as line:
            if line.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    log.seek(0)
    said = [line for line in log.read().splitlines() if line.strip()]
    raise CannotRun(f"MLflow's UI did not start: {said[-1][:300] if said else 'it said nothing'}")

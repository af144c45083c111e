"""Following a training in MLflow as it goes. The training itself waits for nobody."""

import contextlib
import functools
import queue
import threading
from collections.abc import Iterator

from components.shared.runs import values
from components.shared.runs.connection import again, connect, first_line
from components.shared.runs.pipeline_run import ENDED
from components.shared.runs.training_run import find_or_make, log_row

PATIENCE = {"RUNNING": 15.0, "KILLED": 4.0}  # seconds in the end, for what is still on its way; a killed training has few


@contextlib.contextmanager
def live(record: dict) -> Iterator["Live"]:
    """Follow a training. Whatever the server does, the training goes on; `send_training` completes the run later."""
    follower = Live(record)
    try:
        yield follower
    except BaseException:
        follower.end("KILLED")
        raise
    follower.end("RUNNING")  # it stays open for `send_training`


class Live:
    """A run that is written to while its training lasts, by a thread of its own, until the server first fails."""

    def __init__(self, record: dict) -> None:
        import mlflow  # noqa: F401 - here, since two threads that import at a time can wait for each other

        self._record = record
        self._rows: queue.SimpleQueue = queue.SimpleQueue()
        self._failed = False
        self._thread = threading.Thread(target=self._follow, name="tracking", daemon=True)
        self._thread.start()

    def epoch(self, row: dict) -> None:
        """Send one row of the history, some time."""
        self._rows.put(row)

    def end(self, status: str) -> None:
        """Stop following, with the run in this state."""
        self._rows.put(status)
        self._thread.join(PATIENCE[status])
        if self._thread.is_alive():
            self._give_up("the server is slow")

    def _follow(self) -> None:
        monitor = None
        try:
            mlflow = connect()
            client, run_id = mlflow.MlflowClient(), again(lambda: find_or_make(mlflow, self._record))
            client.update_run(run_id, status="RUNNING")
            if ENDED in client.get_run(run_id).data.tags:  # by someone who took it for lost
                client.delete_tag(run_id, ENDED)
            again(lambda: values.log_knobs(client, run_id, self._record))
            monitor = _monitor(run_id)
            while isinstance(row := self._rows.get(), dict):
                again(functools.partial(log_row, client, run_id, row))
            monitor = monitor.finish()
            client.update_run(run_id, status=row)
        except Exception as error:  # whatever goes wrong there must not end a training
            self._give_up(first_line(error))
            if monitor:
                monitor.finish()

    def _give_up(self, reason: str) -> None:
        if not self._failed:
            self._failed = True
            print(f"tracking: {reason}; the training goes on, its run is sent by a later step")


def _monitor(run_id: str):
    """What the training asks of the machine, measured every few seconds."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, resume_logging=True)
    monitor.start()
    return monitor

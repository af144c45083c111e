"""Following a training in MLflow as it goes. The training itself waits for nobody."""

import contextlib
import functools
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from components.shared.errors import Terminated
from components.shared.runs import one_run, values
from components.shared.runs.connection import again, connect, experiment_id, first_line
from components.shared.runs.pipeline_run import TRAINING, end
from components.shared.runs.training_run import find_or_make, log_row, take_over

PATIENCE = {"RUNNING": 15.0, "FAILED": 4.0, "KILLED": 4.0}  # seconds in the end, for what is still on its way


@contextlib.contextmanager
def live(record: dict, *, given_up: Sequence[str] = ()) -> Iterator["Live"]:
    """Follow a training. Whatever the server does, the training goes on; `send_training` completes the run later.

    `given_up`: ids of trainings in whose place this one stands; their runs are ended, when they are still open.
    """
    follower = Live(record, given_up)
    try:
        yield follower
    except Terminated:
        raise  # `kill` is at work
    except BaseException as error:
        follower.end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    follower.end("RUNNING")  # it stays open for `send_training`


class Live:
    """A run that is written to while its training lasts, by a thread of its own, until the server first fails."""

    def __init__(self, record: dict, given_up: Sequence[str] = ()) -> None:
        import mlflow  # noqa: F401 - here, since two threads that import at a time can wait for each other

        self._record, self._given_up = record, given_up
        self._rows: queue.SimpleQueue = queue.SimpleQueue()
        self._failed = self._killed = False
        self._run: tuple[Any, str] | None = None  # MLflow's client and the run's id
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

    def kill(self) -> None:
        """End the run as KILLED, at once and whatever is on its way; another thread may call this."""
        self._killed = True
        if self._run:
            client, run_id = self._run
            with contextlib.suppress(Exception):  # of a server that is away: the next start, or `status`, ends the run
                client.set_terminated(run_id, "KILLED")

    def _follow(self) -> None:
        monitor = None
        try:
            mlflow = connect()
            client, run_id = mlflow.MlflowClient(), again(lambda: find_or_make(mlflow, self._record))
            again(lambda: take_over(mlflow, run_id, self._record))
            self._run = client, run_id
            if self._killed:  # before there was a run
                return self.kill()
            for other in self._given_up:
                if (run := one_run.find(client, experiment_id(mlflow), TRAINING, other)) and run.info.status == "RUNNING":
                    end(client, run, "a training with other knobs, data or code took its place", "KILLED")
            again(lambda: values.log_knobs(client, run_id, values.knobs_of(self._record)))
            monitor = _monitor(run_id)
            while isinstance(row := self._rows.get(), dict):
                again(functools.partial(log_row, client, run_id, row))
            monitor = monitor.finish()
            if row != "RUNNING" and not self._killed:
                client.set_terminated(run_id, row)
        except Exception as error:  # whatever goes wrong there must not end a training
            self._give_up(first_line(error))
            if monitor:
                monitor.finish()

    def _give_up(self, reason: str) -> None:
        if not self._failed:
            self._failed = True
            with contextlib.suppress(OSError):  # nobody reads any more
                print(f"tracking: {reason}; the training goes on, its run is sent by a later step", flush=True)


def _monitor(run_id: str):
    """What the training asks of the machine, measured every few seconds."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, resume_logging=True)
    monitor.start()
    return monitor

"""MLflow, set up: a team's server or the store beside the project. No call waits long, each fault is one line, no chatter."""

import contextlib
import logging
import os
import random
import re
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from filelock import FileLock

from components.shared.deadline import within
from components.shared.errors import CannotRun, Stop
from components.shared.masking import masked
from components.shared.runs import addresses

STORE = Path("mlflow/runs.db")  # sqlite, where MLFLOW_TRACKING_URI names no server
ARTIFACTS = Path("mlflow/artifacts")
EXPERIMENT = "darkroom"
CONNECT, CALL = 30.0, 60.0  # seconds that a server gets to answer; for one call with its repetitions
SEND, SLOWEST = 120.0, 2**18  # seconds for a run without its files; bytes a second below which a line is useless
# A server that does not answer costs seconds. MLflow's own defaults wait for minutes.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",  # a server may ask for an hour
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "5",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
# What a database says when another process was faster: the same call, made again, finds what that one wrote.
FASTER = re.compile(
    r"integrityerror|uniqueviolation|unique constraint|already exists|already_exists|database is locked|deadlock|"
    r"could not serialize|no such table|undefinedtable|another operation|duplicate (key|column)",
    re.IGNORECASE,
)
ATTEMPTS = 6
T = TypeVar("T")


def load():
    """MLflow with our settings; no server is asked."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    silence()
    return mlflow


def connect():
    """MLflow, set up for the server in MLFLOW_TRACKING_URI or the store beside the project. Raises CannotRun when it is down."""
    mlflow = load()
    address, own = os.environ.get("MLFLOW_TRACKING_URI"), None
    if not address:
        # Absolute: MLflow keeps one connection per address, wherever the working folder has gone since.
        address, own = sqlite_address(STORE.absolute()), ARTIFACTS.absolute()
        if unquote(str(own)) != str(own):
            raise CannotRun(f"{own.parents[1]}: MLflow takes a % with two digits in a path for another letter; rename the folder, "
                            "or set MLFLOW_TRACKING_URI")  # fmt: skip
    # A store of our own asks nobody; its disk may be slow, and another process may hold it for a while.
    seconds = CONNECT if address.startswith("http") else 2 * CALL
    with explained(address):
        within(seconds, lambda: again(lambda: _open(mlflow, address, own)), what="not reachable")
    return mlflow


def sqlite_address(file: Path) -> str:
    """The address of a store in a file, whatever its path: SQLAlchemy unescapes it, and would take what follows a ? for options.

    With the driver's name, since MLflow makes the folders of an address that begins with `sqlite:///`, and does not unescape it.
    """
    return f"sqlite+pysqlite:///{str(file).replace('%', '%25').replace('?', '%3F')}"


def _open(mlflow, address: str, own: Path | None) -> None:
    if not own:  # a server keeps artifacts where it was told to; only our own file store has to be told here
        return _experiment(mlflow, address, None)
    store = STORE.absolute()
    store.parent.mkdir(exist_ok=True)
    # Tables are made by whoever comes first; MLflow itself fails for whoever comes second.
    with FileLock(store.with_name(f".{store.name}.lock")):
        if not store.exists():  # whole or not at all: MLflow does not go on with tables whose making was cut short
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            new = store.with_name(f".{store.name}.new")
            new.unlink(missing_ok=True)
            made = SqlAlchemyStore(sqlite_address(new), own.as_uri())
            made.delete_experiment(made.DEFAULT_EXPERIMENT_ID)  # nothing of ours goes there
            made.engine.dispose()
            new.replace(store)
        addresses.bring_home(store, own)
        _experiment(mlflow, address, own.as_uri())
        # MLflow tells child processes its address; our next connection would take it for what the user wants.
        os.environ.pop("MLFLOW_TRACKING_URI", None)


def _experiment(mlflow, address: str, artifacts: str | None) -> None:
    mlflow.set_tracking_uri(address)
    client, name = mlflow.MlflowClient(), experiment()
    if client.get_experiment_by_name(name) is None:
        client.create_experiment(name, artifact_location=artifacts)
    present = client.get_experiment_by_name(name)
    if present.lifecycle_stage != "active":
        raise CannotRun(f"its experiment {name!r} was deleted; restore it, or name another in MLFLOW_EXPERIMENT_NAME")
    mlflow.set_experiment(experiment_id=present.experiment_id)  # where logged models go


def experiment() -> str:
    """The name of the experiment that runs belong to."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)


def experiment_id(mlflow) -> str:
    """The id under which the server knows it."""
    return mlflow.MlflowClient().get_experiment_by_name(experiment()).experiment_id


def ask(mlflow, work: Callable[[], T], *, seconds: float = CALL) -> T:
    """One piece of work with the server, which may be done twice: in time, again when another was faster, faults in one line.

    Raises CannotRun.
    """
    with explained(mlflow.get_tracking_uri()):
        return within(seconds, lambda: again(work), what="too slow")


def again(work: Callable[[], T]) -> T:
    """Call `work` until no other process gets in its way, some six times at most. It looks before it writes, each time anew."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return work()
        except Stop:
            raise
        except Exception as error:  # MLflow, requests and SQLAlchemy raise their own
            if not FASTER.search(str(error)):
                raise
        # Apart from those that were in the way, and from each other.
        time.sleep(random.uniform(0.05, 0.2) * 2**attempt)  # noqa: S311 - nothing that has to be secret
    return work()


def seconds_for(*paths: Path) -> float:
    """How long sending these files and folders may take."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return SEND + sum(file.stat().st_size for file in files) / SLOWEST


@contextlib.contextmanager
def explained(address: str) -> Iterator[None]:
    """Whatever is raised inside becomes one line that names the server, as CannotRun; our own Refused stays."""
    try:
        yield
    except CannotRun as error:
        text = str(error)
        raise (error if text.startswith("MLflow at") else CannotRun(f"MLflow at {masked(address)}: {text}")) from None
    except Stop:
        raise
    except Exception as error:
        raise CannotRun(f"MLflow at {masked(address)}: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """What went wrong, in one line without passwords."""
    text = str(error).strip()
    if re.search(r"<(!doctype )?html", text, re.IGNORECASE):
        return "answers with a web page: this is no MLflow server, or a page to log in; check MLFLOW_TRACKING_URI"
    if re.search(r"\b(401|403)\b|unauthorized", text, re.IGNORECASE):
        return ("refuses who asks (401 or 403); set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
                "MLFLOW_TRACKING_TOKEN")  # fmt: skip
    if re.search(r"Max retries exceeded|Connection (refused|reset|aborted)|timed? ?out|50[0234]|\b429\b", text):
        return f"not reachable ({masked(text.splitlines()[0][:300])})"
    lines = [line for line in text.splitlines() if not line.startswith("(raised as a result")]  # SQLAlchemy's preface
    return masked(lines[0][:300]) if lines else type(error).__name__


def silence() -> None:
    """What MLflow, alembic and urllib3 log is for their makers: faults come as exceptions, and we say them."""
    for name in ("mlflow", "alembic", "urllib3", "sqlalchemy", "psycopg", "filelock", "git"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    for module in ("mlflow", "alembic", "sqlalchemy"):
        warnings.filterwarnings("ignore", module=module)

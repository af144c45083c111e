"""A run that exists once, however many processes ask for it at the same time: found by a tag, or made.

MLflow makes run ids itself and has no "create if absent". So each maker announces its run with a claim, and reads again:

* who sees no other claim settles its own, by taking the claim off; all later ones see that, and use the run;
* of those that see each other the lowest id stays and waits, the others delete theirs and wait for it.

Two are never settled: the second to read after writing its claim sees the first. A claim whose maker died is taken over.
"""

import time
from collections.abc import Callable

CLAIM = "darkroom.claim"
PATIENCE = 6.0  # seconds, after which the maker of a claim counts as dead; fewer than what a step takes to speak (pipeline_run)


def find(client, experiment_id: str, tag: str, value: str):
    """The run with this tag, or None; a claim where none is settled. By its tag and id alone: clocks differ."""
    runs = _search(client, experiment_id, tag, value)
    return min(runs, key=lambda run: (CLAIM in run.data.tags, run.info.run_id), default=None)


def find_or_make(client, experiment_id: str, tag: str, value: str, *, name: str, tags: Callable[[], dict]) -> str:
    """The id of the one run with this tag. `tags()` says what a new one has besides it."""
    mine, since = None, time.monotonic()
    while True:
        runs = _search(client, experiment_id, tag, value)
        settled = [run for run in runs if CLAIM not in run.data.tags]
        claims = sorted(run.info.run_id for run in runs if CLAIM in run.data.tags)
        if settled:
            if mine in claims:
                client.delete_run(mine)
            return min(run.info.run_id for run in settled)
        late = time.monotonic() - since > PATIENCE
        if mine is None and not claims:
            given = {"mlflow.runName": name, tag: value, **tags(), CLAIM: "open"}
            mine, since = client.create_run(experiment_id, tags=given).info.run_id, time.monotonic()
        elif mine is None and late:
            for other in claims[1:]:
                client.delete_run(other)
            client.delete_tag(claims[0], CLAIM)
        elif claims == [mine]:
            client.delete_tag(mine, CLAIM)
        elif mine is not None and mine not in claims:
            mine = None  # taken for dead, and deleted
        elif mine is not None and mine > claims[0]:
            client.delete_run(mine)
            mine, since = None, time.monotonic()
        elif late:
            for other in set(claims) - {mine}:
                client.delete_run(other)
        else:
            time.sleep(0.1)


def _search(client, experiment_id: str, tag: str, value: str) -> list:
    return client.search_runs([experiment_id], filter_string=f"tags.`{tag}` = '{value}'")

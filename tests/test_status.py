"""What a person is told of runs on Kubeflow, against what a real cluster answered of each kind of run."""

import json
import re
import subprocess
import sys
import time

import kfp_server_api as api
import pytest
from conftest import ROOT
from kubeflow_double import TOKEN, Frame, recorded
from test_submit import UNCHECKED, double, said  # noqa: F401 - fixtures

from pipelines import nodes, status
from pipelines.__main__ import main

pytestmark = pytest.mark.slow

OOM = "main: OOMKilled (exit code 1)"


def oom_as(words: str, at: float = 1.0) -> Frame:
    """The recorded run whose training failed, with another reason."""
    return Frame("oom", at, ((OOM, words),))


def steps(situation: str, at: float = 1.0, words: tuple = ()) -> dict[str, nodes.Step]:
    answer = recorded("v1beta1", Frame(situation, at, words))
    return {step.name: step for step in nodes.of_workflow(answer["pipeline_runtime"]["workflow_manifest"])}


def test_the_steps_of_a_workflow_have_our_names_and_their_reasons():
    found = steps("oom")
    assert (found["train cnn"].state, found["train cnn"].reason) == ("failed", "out of memory (OOMKilled)")
    assert found["train cnn"].pod == "darkroom-mxd9t-retry-system-container-impl-1053360478"
    assert found["train cnn"].seconds() == 42
    assert (found["train lstm"].state, found["validate"].state) == ("cached", "cached")
    assert (found["register"].state, found["report"].state) == ("skipped", "done")
    assert list(found)[-2:] == ["evaluate cnn", "register"]  # what was left out stands last, in the graph's order
    found = steps("failed-validate")
    assert found["validate"].reason.startswith(
        "1 errors; look at "
    )  # and not `main: Error (exit code 1): validate: validate: `
    assert steps("missing-secret")["validate"].state == "waiting"
    assert "configuration" in steps("failed-driver")["kubeflow root driver"].reason
    middle = steps("oom", 0.7)
    assert middle["train cnn"].state == "running"


def test_a_driver_that_succeeded_when_it_was_tried_again_is_no_fault():
    workflow = recorded("v1beta1", Frame("succeeded"))["pipeline_runtime"]["workflow_manifest"]
    was = nodes.of_workflow(workflow)
    for node in list(workflow["status"]["nodes"].values()):
        if node["type"] == "Pod" and node["name"].endswith("-driver(0)"):
            before = {"id": f"{node['id']}0", "phase": "Error", "message": "pod deleted", "startedAt": "2026-11-26T00:00:00Z"}
            workflow["status"]["nodes"][before["id"]] = node | before
            node["name"] = node["name"][:-2] + "1)"
    found = nodes.of_workflow(workflow)
    assert nodes.fault(found) is None
    assert {step.name: step.state for step in found} == {step.name: step.state for step in was}


def test_names_without_the_try_of_the_outer_levels_are_the_same_steps():
    """Older installations have no retries there."""
    text = json.dumps(recorded("v1beta1", Frame("oom"))["pipeline_runtime"]["workflow_manifest"])
    older = json.loads(re.sub(r"(?<=[a-z0-9])\(0\)\.", ".", text))
    assert nodes.of_workflow(older) == list(steps("oom").values())


def test_a_scheduled_run_that_found_nothing_new_is_said_to_be_one(double, said, monkeypatch):  # noqa: F811
    """Of the recorded run only one step, called `newest`, and the report."""
    run, answer = double.play(Frame("succeeded", 1.0, (("augment", "newest"),))), double.answer

    def small(*given):
        status, found = answer(*given)
        if "/v1beta1/runs/" in given[1]:
            manifest = json.loads(found["pipeline_runtime"]["workflow_manifest"])
            nodes = manifest["status"]["nodes"]
            manifest["status"]["nodes"] = {key: node for key, node in nodes.items() if re.search("newest|onExit", node["name"])}
            found["pipeline_runtime"]["workflow_manifest"] = json.dumps(manifest)
        return status, found

    monkeypatch.setattr(double, "answer", small)
    assert main(["status", run]) == 0
    assert (
        "newest         done in 11 s\nreport         done in 6 s\nsmall: succeeded, 7 min 23 s: nothing changed since" in said()
    )


def test_packed_nodes_are_unpacked(double, said):  # noqa: F811
    run = double.play(Frame("succeeded"))
    assert main(["status", run]) == 0
    plain = said()
    assert "evaluate lstm  done in 22 s\nregister       done in 7 s\nreport         done in 6 s\n" in plain
    double.compressed = True
    assert main(["status", run]) == 0
    assert said() == plain


def tried(found: dict, phase: str, message: str = "") -> list[nodes.Step]:
    """The recorded training that failed, and a second try of it."""
    of = found["status"]["nodes"]
    first = next(node for node in of.values() if node["name"].endswith(".train-cnn(0).executor(0)"))
    second = first | {"id": "darkroom-mxd9t-77", "name": first["name"][:-2] + "1)", "startedAt": "2026-11-26T01:49:00Z"}
    second |= {"phase": phase, "message": message, "finishedAt": "2026-11-26T01:50:00Z" if phase != "Running" else None}
    for node in of.values():
        if re.search(r"\.train-cnn(\(0\))?(\.executor)?$", node["name"]):
            node["phase"] = phase
    of["second"] = second
    return nodes.of_workflow(found)


@pytest.mark.parametrize(
    ("phase", "state", "tries"),
    [("Running", "running", "retry 1 of 2"), ("Succeeded", "done", "retry 1 of 2"), ("Failed", "failed", "retry 1 of 2")],
)
def test_a_second_try_counts_and_its_success_is_one(phase, state, tries):
    found = tried(recorded("v1beta1", Frame("oom"))["pipeline_runtime"]["workflow_manifest"], phase)
    (train,) = [step for step in found if step.name == "train cnn"]
    assert (train.state, train.tries, train.pod.endswith("-77")) == (state, tries, True)
    assert (nodes.fault(found) is None) == (phase != "Failed")


@pytest.mark.parametrize(
    ("message", "reason"),
    [(OOM, "out of memory (OOMKilled)"), ("main: Error (exit code 1): validate: refused: E_X: mend it", "refused: E_X: mend it"),
     ("main: Error (exit code 143)", "ended with exit code 143, and left no word"), ("pod deleted", "pod deleted"),
     ("Error (exit code 1): gate: validate: refused: no", "gate: validate: refused: no"),
     ("init: Error (exit code 2): invalid configuration", "invalid configuration")],
)  # fmt: skip
def test_a_reason_is_told_without_argos_wrapping(message, reason):
    assert nodes.plain(message, "validate") == reason


def test_a_failure_is_told_with_step_reason_log_and_what_to_do(double, said):  # noqa: F811
    double.next = [Frame("oom", 0.7), Frame("oom")]
    assert main(["submit", *UNCHECKED, "--wait"]) == 1
    shown = said()
    assert "train cnn      running" in shown
    assert "train cnn      failed after 42 s: out of memory (OOMKilled)" in shown
    assert ": failed, 3 min 18 s, at train cnn: out of memory (OOMKilled)\n" in shown
    assert "`python -m pipelines logs r0 train cnn`" in shown
    assert "  log of darkroom-mxd9t-retry-system-container-impl-1053360478: the last line\n" in shown
    assert "what to do: give it more `memory`" in shown
    assert not [request for request in double.requests if request.endswith(":retry")]  # a fault of its own
    assert "driver" not in shown


@pytest.mark.parametrize(
    "words", ["main: Error (exit code 143)", "pod deleted", "Pod was evicted: node was low on resource: memory"]
)
def test_a_step_whose_pod_was_taken_away_is_tried_again(double, said, words):  # noqa: F811
    double.next = [oom_as(words, 0.7), oom_as(words)]
    assert main(["submit", *UNCHECKED, "--wait"]) == 0
    assert "train cnn      its pod was taken away" in said()
    assert double.requests.count("POST /pipeline/apis/v2beta1/runs/r0:retry") == 1
    double.retried = [oom_as(words, 0.7), oom_as(words)]  # nor is it tried for ever
    assert main(["submit", *UNCHECKED, "--wait"]) == 1
    shown = said()
    assert "tried again, 2 of 2" in shown
    assert "what to do: its pod was taken away: `python -m pipelines retry r1` goes on" in shown


def test_a_refusal_is_not_tried_again(double, said):  # noqa: F811
    double.next = [oom_as("main: Error (exit code 1): train.cnn: refused: evicted from the board")]
    assert main(["submit", *UNCHECKED, "--wait"]) == 1
    assert not [request for request in double.requests if request.endswith(":retry")]
    assert "pipelines retry" not in said()


@pytest.mark.parametrize(
    ("words", "told"),
    [(None, 'for a secret: CreateContainerConfigError: secret "darkroom-storx" not found; `python -m pipelines check`'),
     ("ErrImagePull: failed to pull and unpack image docker.io/x", "for its image: ErrImagePull: failed to pull"),
     ('pods "x" is forbidden: error looking up service account kubeflow/darkroom-step', "for an account with its rights: pods"),
     ("Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.", "for room: Unschedulable: 0/1 nodes are available")],
)  # fmt: skip
def test_what_a_step_waits_for_is_said_after_a_minute(double, said, words, told):  # noqa: F811
    was = 'CreateContainerConfigError: secret "darkroom-storx" not found'
    hangs = Frame("missing-secret", 1.0, ((was, words),) if words else ())
    double.next = [hangs, hangs, hangs, Frame("stopped-training")]
    assert main(["submit", *UNCHECKED, "--wait"]) == 1
    shown = said()
    assert shown.count(told) == 1
    assert re.search(r"validate +waiting \d+ h", shown)
    assert "stopped, 3 min 34 s" in shown
    assert "somebody stopped it" in shown


def test_a_token_that_dies_ends_the_waiting_and_not_the_run(double, said, monkeypatch):  # noqa: F811
    calls = double.answer

    def dies(method, path, query, body):
        if method == "GET" and "/v2beta1/runs/" in path:
            double.trouble = ["expired"] * 3
        return calls(method, path, query, body)

    monkeypatch.setattr(double, "answer", dies)
    monkeypatch.setattr(status, "EVERY", 60)
    double.next = [Frame("succeeded", 0.5)] * 9
    assert main(["submit", *UNCHECKED, "--wait"]) == 2
    shown = said()
    assert "token has expired" in shown
    assert "the run goes on, `python -m pipelines status r0` looks again" in shown


def test_kubeflow_that_is_away_for_good_ends_the_waiting_and_not_the_run(double, said, monkeypatch):  # noqa: F811
    answer = double.answer
    monkeypatch.setattr(status, "OUTAGE", 1)
    monkeypatch.setattr(double, "answer", lambda *given: (500, {"message": "gone"}) if "/runs/" in given[1] else answer(*given))
    assert main(["submit", *UNCHECKED, "--wait"]) == 2
    assert "gone (500); the run goes on, `python -m pipelines status r0` looks again" in said()


GONE = 3 * 3600  # seconds since anything happened


def with_limit(double, seconds: int) -> None:  # noqa: F811
    """The time limit of each pod, where Kubeflow writes it: the recordings lack it."""
    answer = double.answer

    def limited(*given):
        status, found = answer(*given)
        if "/v1beta1/runs/" in given[1] and status == 200:
            manifest = json.loads(found["pipeline_runtime"]["workflow_manifest"])
            for node in manifest["status"]["nodes"].values():
                patch = {"name": "pod-spec-patch", "value": json.dumps({"activeDeadlineSeconds": seconds, "containers": []})}
                node["inputs"] = {"parameters": [patch]} if node["type"] == "Pod" else {}
            found["pipeline_runtime"]["workflow_manifest"] = json.dumps(manifest)
        return status, found

    double.answer = limited


def now(double, state: str, ago: float, frame: Frame) -> str:  # noqa: F811
    """A run that came into a state so many seconds ago, and has not ended since."""
    run, answer = double.play(frame), double.answer
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))

    def shown(*given):
        status, found = answer(*given)
        if f"/v2beta1/runs/{run}" in given[1] and given[0] == "GET":
            found |= {"state": state, "state_history": [{"state": state, "update_time": at}]}
        return status, found

    double.answer = shown
    return run


@pytest.mark.parametrize("kind", ["schedule", "between pods", "a pod of a day", "stopped"])
def test_a_run_whose_workflow_is_gone_is_said_to_be_lost(double, said, kind):  # noqa: F811
    """Kubeflow shows it as going for ever."""
    if kind == "schedule":
        run = double.play(Frame("schedule-deleted"), recurring_run_id="gone")
    elif kind == "between pods":
        run = double.play(Frame("succeeded", 0.5, ago=GONE))
    elif kind == "a pod of a day":
        with_limit(double, 600)
        run = double.play(Frame("oom", 0.7, ago=GONE))
    else:
        run = now(double, "CANCELING", 700, Frame("oom", 0.7))
    assert main(["status", run]) == 1
    shown = said()
    assert re.search(r": lost: its workflow is gone, .* `python -m pipelines submit` starts anew\n", shown)
    assert main(["list"]) == 0
    assert re.search(rf"{run}  lost  ", said())
    assert main(["stop", run]) == 0
    assert "ended already: lost" in said()
    assert main(["retry", run]) == 2
    assert "lost; only a run that failed or was stopped can be tried again" in said()
    assert not [request for request in double.requests if ":" in request.rsplit("/", 1)[1]]  # nothing was asked of it


@pytest.mark.parametrize("kind", ["between pods", "a pod of a day", "no limit", "waits", "stopping", "tried again"])
def test_a_run_that_goes_is_not_said_to_be_lost(double, said, kind):  # noqa: F811
    if kind == "a pod of a day":
        with_limit(double, 86_400)
    frames = {"between pods": Frame("succeeded", 0.5), "waits": Frame("missing-secret")}
    if kind == "tried again":  # of what it did long ago, nothing runs
        run = now(double, "RUNNING", 30, Frame("succeeded", 0.5, ago=GONE))
    elif kind == "stopping":
        run = now(double, "CANCELING", 30, Frame("oom", 0.7))
    else:
        run = double.play(frames.get(kind, Frame("oom", 0.7, ago=GONE)))
    assert main(["status", run]) == 0
    assert "lost" not in said()


def test_a_run_that_is_lost_while_it_is_waited_for_ends_the_waiting(double, said):  # noqa: F811
    double.next = [Frame("succeeded", 0.5), Frame("succeeded", 0.5, ago=GONE)]
    assert main(["submit", *UNCHECKED, "--wait"]) == 1
    assert ": lost: its workflow is gone, " in said()


def test_a_lost_run_that_only_stopping_finds_is_told(double, said):  # noqa: F811
    run = double.play(Frame("schedule-deleted"), recurring_run_id="s1")
    double.schedules["s1"] = api.V2beta1RecurringRun(recurring_run_id="s1")
    assert main(["stop", run]) == 2
    assert "lost: its workflow is gone, so nothing runs" in said()


def test_the_list_tells_of_each_run_in_a_line_what_status_tells(double, said):  # noqa: F811
    ids = [double.play(Frame(kind), display_name=f"run {kind}") for kind in ("stopped-training", "oom", "cached")]
    ids.append(double.play(Frame("succeeded", 0.5), display_name="mine"))
    assert main(["list"]) == 0
    lines = said().splitlines()
    for run, line, words in zip(
        ids, lines, ["stopped, 3 min 34 s", "failed, 3 min 18 s", "succeeded, ", "running, "], strict=True
    ):
        assert line.startswith(f"{run}  {words}")
        assert line.endswith(f"  {double.address}/#/runs/details/{run}")
        assert re.search(r"  2026-11-26 01:\d\d  run ", line) or "  mine  " in line
    assert main(["list", "--count", "2"]) == 0
    assert len(said().splitlines()) == 2


def test_logs_are_of_the_step_that_failed_or_of_the_one_that_is_named(double, said):  # noqa: F811
    run = double.play(Frame("oom"))
    assert main(["logs", run]) == 0
    assert "retry-system-container-impl-1053360478: epoch 1" in said()
    assert main(["logs", run, "train"]) == 0
    assert "impl-1053360478: epoch 1" in said()
    assert main(["logs", run, "report"]) == 0
    assert "impl-3676673221" in said()
    double.log = f"{{pod}} authorization: Bearer {TOKEN}"
    assert main(["logs", run, "train", "cnn"]) == 0
    assert "1053360478 authorization: Bearer ***" in said()
    assert main(["logs", run, "train", "rnn"]) == 2
    assert "train rnn has left no log in this run; these have: " in said()
    assert main(["logs", double.play(Frame("schedule-deleted"))]) == 2
    assert ": no step has left a log in this run\n" in said()


def test_a_failed_run_goes_on_and_another_does_not(double, said):  # noqa: F811
    run = double.play(Frame("oom"))
    assert main(["retry", run, "--wait"]) == 0
    assert "goes on" in said()
    assert main(["retry", run]) == 2
    assert "only a run that failed or was stopped can be tried again" in said()
    assert main(["retry", "nothing"]) == 2
    assert "no run has this id" in said()


def test_a_run_that_has_ended_is_not_stopped(double, said):  # noqa: F811
    assert main(["stop", double.play(Frame("cached"))]) == 0
    assert "ended already: succeeded" in said()
    assert main(["stop", double.play(Frame("stopped-training"))]) == 0
    assert "ended already: stopped" in said()
    assert main(["stop", "nothing"]) == 2
    assert "nothing: no run or schedule has this id" in said()


@pytest.mark.parametrize(
    ("status", "words", "code", "told"),
    [(400, "Row not found", 0, "ended already: succeeded"), (500, "database is gone", 2, "database is gone (500)")],
)
def test_what_kubeflow_says_of_stopping_is_not_taken_for_something_else(double, said, monkeypatch, status, words, code, told):  # noqa: F811
    """The run ends while it is asked to; or the database is away, which makes no run lost."""
    run, answer = double.play(*[Frame("succeeded", 0.5)] * 2, Frame("succeeded")), double.answer
    refusal = (status, {"message": words})
    monkeypatch.setattr(double, "answer", lambda *given: refusal if given[1].endswith(":terminate") else answer(*given))
    assert main(["stop", run]) == code
    shown = said()
    assert told in shown
    assert "lost" not in shown


def test_a_schedule_is_deleted_when_its_run_has_ended(double, said):  # noqa: F811
    assert main(["schedule", *UNCHECKED, "--cron", "0 2 * * *"]) == 0
    (first,) = double.schedules
    run = double.play(*[Frame("succeeded", 0.5)] * 3, Frame("succeeded"), recurring_run_id=first)
    looks = []

    def listed(*arguments):
        looks.append(double.schedules[first].status)
        return answer(*arguments)

    answer, double.answer = double.answer, lambda *given: (listed if given[1].endswith("/runs") else answer)(*given)
    said()
    assert main(["schedule", *UNCHECKED, "--cron", "0 3 * * *"]) == 0
    shown = said()
    assert shown.count("deleted when this one has ended: small") == 1
    assert looks == ["DISABLED"] * 3
    assert first not in double.schedules
    assert double.frames[run] == [Frame("succeeded")]  # it ended well
    double.answer = answer
    (second,) = double.schedules
    assert double.schedules[second].status == "ENABLED"
    going = double.play(Frame("oom", 0.5), recurring_run_id=second)
    assert main(["stop", second, "--now"]) == 0
    assert "ended with it: e15-oom" in said()
    assert double.frames[going] == [Frame("stopped-training")]
    assert not double.schedules
    assert main(["schedule", *UNCHECKED, "--cron", "0 2 * * *"]) == 0
    (third,) = double.schedules
    double.play(
        Frame("succeeded", 0.5, ago=GONE), recurring_run_id=third
    )  # somebody deleted its workflow: it is not waited for
    assert main(["stop", third]) == 0
    assert not double.schedules


def test_help_loads_nothing_heavy():
    heavy = "{'kfp', 'kfp_server_api', 'kubernetes', 'mlflow', 'tensorflow', 'pandas', 'dvc'}"
    code = f"import sys; sys.argv[1:] = ['--help']; from pipelines.__main__ import main; main(); assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_the_words_for_a_duration():
    assert [status.span(s) for s in (0, 59.6, 60, 61, 3600, 7500)] == [
        "0 s",
        "1 min",
        "1 min",
        "1 min 1 s",
        "1 h 0 min",
        "2 h 5 min",
    ]


def test_the_steps_are_those_of_the_graph():
    import yaml

    (graph,) = list(yaml.safe_load_all((ROOT / "tests/golden/pipeline.yaml").read_text()))[:1]
    tasks = graph["root"]["dag"]["tasks"] | graph["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    named = {task["taskInfo"]["name"]: name for name, task in tasks.items() if name != "exit-handler-1"}
    assert set(named) == set(nodes.STEPS)
    assert all(name.replace("-", " ") == shown for shown, name in named.items())  # as the workflow calls them


def test_mlflows_page_is_named_and_what_an_ended_run_left_open_there_is_closed(double, said, here, monkeypatch, tmp_path):  # noqa: F811
    import mlflow
    from components.shared.config import PIPELINE_RUN
    from components.shared.runs import pipeline_run

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'runs.db'}")
    monkeypatch.setattr(pipeline_run, "SECONDS", 120)  # to make a database takes long here
    run = double.play(Frame("stopped-training"))
    monkeypatch.setenv(PIPELINE_RUN, run)
    pipeline_run.say("train cnn", "running")
    client = mlflow.MlflowClient()
    (parent,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    left = client.create_run(parent.info.experiment_id, tags={pipeline_run.PARENT: parent.info.run_id})
    assert main(["status", run]) == 1
    assert f"/runs/{parent.info.run_id}\n" in said()
    assert client.get_run(left.info.run_id).info.status == "KILLED"

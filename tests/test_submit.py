"""Submitting to Kubeflow, against a server that speaks its v2beta1 API: what is sent, what is said, and every kind of trouble."""

import json
import os
import re
import shutil
import subprocess

import pytest
import yaml
from conftest import ROOT, draw_stills
from kubeflow_double import TOKEN, Double, Frame

from components.ingest.step import ingest
from components.shared.store import Store
from pipelines import kubeflow, settings, status
from pipelines.__main__ import main

pytestmark = pytest.mark.slow  # a server that keeps one waiting as Kubeflow does

FILES = ["--params", str(ROOT / "params.yaml"), "--settings", str(ROOT / settings.FILE)]
UNCHECKED = [*FILES, "--data", "s3://bucket/dvc", "--digest", "d" * 32 + ".dir", "--unchecked"]


@pytest.fixture
def double(monkeypatch, tmp_path):
    """The server, and an environment that leads to it."""
    for name in list(os.environ):
        if name.startswith(("KFP_", "KF_")):
            monkeypatch.delenv(name)
    made = Double()
    monkeypatch.setenv("KFP_HOST", made.address)
    monkeypatch.setenv("KFP_TOKEN", TOKEN)
    monkeypatch.setenv("KFP_NAMESPACE", "team")
    monkeypatch.setattr(status, "EVERY", 0.02)
    yield made
    made.stop()


@pytest.fixture
def said(capfd):
    """All that was printed; the token is in none of it."""

    def read() -> str:
        captured = capfd.readouterr()
        assert TOKEN not in captured.out + captured.err
        return captured.out + captured.err

    return read


def test_a_run_is_submitted_as_a_version_named_after_the_commit(double, said):
    assert main(["submit", *UNCHECKED, "--set", "train.cnn.epochs=3"]) == 0
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    version, run = double.versions["v0"], double.runs["r0"]
    assert re.match(rf"{commit}(\+changes)?-[0-9a-f]{{8}}$", version.display_name)
    assert double.pipelines["p0"].namespace == "team"
    assert double.experiments["e0"].namespace == "team"
    sent = run.runtime_config.parameters
    assert (sent["data"], sent["digest"]) == ("s3://bucket/dvc", "d" * 32 + ".dir")
    assert json.loads(sent["train_cnn"])["epochs"] == 3
    assert "train_lstm" in sent  # Kubeflow's page does not show what is not sent
    assert run.display_name.replace("+changes", "") == f"darkroom {commit}: train.cnn.epochs=3"
    assert "changed: train.cnn.epochs=3" in run.description
    assert version.description
    assert double.pipelines["p0"].description
    assert run.service_account == "darkroom-step"
    assert f"{double.address}/#/runs/details/r0" in said()
    defaults = next(yaml.safe_load_all(double.uploaded["v0"]))["root"]["inputDefinitions"]["parameters"]
    assert (
        json.loads(defaults["train_cnn"]["defaultValue"])["epochs"] != 3
    )  # the version is the commit's, the change is the run's


def test_a_version_is_uploaded_once(double, said, tmp_path):
    assert main(["submit", *UNCHECKED]) == 0
    other = tmp_path / "settings.yaml"
    other.write_text((ROOT / settings.FILE).read_text().replace("at_once: 8", "at_once: 9"))
    assert main(["submit", *UNCHECKED, "--settings", str(other)]) == 0
    assert main(["submit", *UNCHECKED]) == 0
    assert main(["submit", *UNCHECKED, "--settings", str(other)]) == 0  # on the second page of the list
    assert len(double.versions) == 2
    assert [run.pipeline_version_reference.pipeline_version_id for run in double.runs.values()] == ["v0", "v1", "v0", "v1"]
    assert len(double.pipelines) == len(double.experiments) == 1


def test_a_run_is_followed_to_its_end(double, said):
    assert main(["submit", *UNCHECKED, "--wait"]) == 0
    shown = said()
    assert ": succeeded, 7 min 23 s\n" in shown
    double.next = [Frame("failed-validate", 0.5), Frame("failed-validate")]
    assert main(["submit", *UNCHECKED, "--wait"]) == 1
    double.next = [Frame("stopped-training")]
    assert main(["submit", *UNCHECKED, "--wait"]) == 1


def test_following_outlasts_a_server_that_is_away_for_a_while(double, said, monkeypatch):
    calls = double.answer

    def troubled(method, path, query, body):
        if method == "GET" and "/v2beta1/runs/" in path and len(double.requests) % 2:
            return 500, {"error": "database is gone"}
        return calls(method, path, query, body)

    monkeypatch.setattr(double, "answer", troubled)
    assert main(["submit", *UNCHECKED, "--wait"]) == 0


@pytest.mark.parametrize(
    ("trouble", "code", "told"),
    [
        (["busy", "busy"], 0, ""),
        (["", "busy"], 0, ""),  # an upload or a creation that was never taken up
        (["busy"] * 9, 2, "Service Unavailable (503)"),
        (["", "expired"], 2, "token has expired); set KFP_TOKEN or KFP_COOKIES anew"),
        (["login page"], 2, "answers with a page, not with data: perhaps a login"),
        (["login elsewhere"], 2, "leads elsewhere (302), perhaps to a login"),
        (["broken"], 2, "database is gone (500)"),
        (["slow"], 2, "no answer in 1 seconds"),
    ],
)
def test_trouble_is_met_with_patience_or_with_one_line(double, said, monkeypatch, trouble, code, told):
    monkeypatch.setattr(kubeflow, "SECONDS", 1 if "slow" in trouble else 30)
    double.trouble = list(trouble)
    assert main(["submit", *UNCHECKED]) == code
    shown = said()
    assert told in shown
    assert "Traceback" not in shown
    assert len(double.runs) == (code == 0)
    if code:
        assert len(shown.strip().splitlines()) == 1


def test_a_lost_answer_does_not_start_a_second_run(double, said, monkeypatch):
    assert main(["submit", *UNCHECKED]) == 0
    before = len(double.requests)
    assert main(["submit", *UNCHECKED]) == 0
    asked = len(double.requests) - before  # the last of them makes the run
    double.trouble = [""] * (asked - 1) + ["slow"]
    monkeypatch.setattr(kubeflow, "SECONDS", 2)
    assert main(["submit", *UNCHECKED]) == 2
    assert double.requests.count("POST /pipeline/apis/v2beta1/runs") == 3


def test_who_asks_is_told_by_a_cookie_or_by_a_service_accounts_token(double, said, monkeypatch, tmp_path):
    monkeypatch.delenv("KFP_TOKEN")
    assert main(["list"]) == 2
    assert "401" in said()
    monkeypatch.setenv("KFP_COOKIES", f"session={TOKEN}")
    assert main(["list"]) == 0
    monkeypatch.delenv("KFP_COOKIES")
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))
    assert main(["list"]) == 0
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "no"))
    assert main(["list"]) == 2
    assert "No such file" in said()


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("", "KFP_HOST: not set"),
        ("kubeflow.example.org", "expected an address that starts with http"),
        (f"https://me:{TOKEN}@kubeflow.example.org", "must not hold a user or password"),
        ("http://127.0.0.1:9", "Connection refused"),
        ("http://nowhere.invalid", "no such host"),
        ("{address}/elsewhere", "is KFP_HOST the address of the API"),
        ("{address}/forbidden/", "may not do that in namespace team (403)"),
    ],
)
def test_a_wrong_host_is_said(double, said, monkeypatch, host, told):
    monkeypatch.setenv("KFP_HOST", host.format(address=double.address))
    assert main(["submit", *UNCHECKED]) == 2
    assert told in said()


def test_what_would_fail_late_is_refused_before_anything_is_sent(double, said, tmp_path, monkeypatch):
    assert main(["submit", *UNCHECKED, "--set", "train.cnn.epochs=0"]) == 2
    assert "train.cnn.epochs: expected an integer of at least 1, got 0" in said()
    assert main(["submit", *FILES, "--data", "/home/me/data", "--digest", "d"]) == 2
    assert "a cluster cannot reach a folder of this machine" in said()
    monkeypatch.chdir(tmp_path)
    assert main(["submit", *FILES, "--data", "s3://bucket/dvc"]) == 2
    assert "data.dvc: no such file; `dvc add data` writes it" in said()
    remote = (tmp_path / "remote").as_uri()  # an address, as an object store has one
    assert main(["submit", *FILES, "--data", remote, "--digest", "d" * 32 + ".dir"]) == 2
    assert "`dvc push` where the data is sends it" in said()
    assert double.requests == []


@pytest.fixture
def pushed(tmp_path, monkeypatch):
    """A project whose data lies in DVC's default remote, an address as an object store has one; returns the remote's folder."""
    monkeypatch.chdir(tmp_path)
    ingest(draw_stills(tmp_path / "stills"), tmp_path / "data")
    remote = tmp_path / "remote"
    for command in ("git init -q", "dvc init -q", "dvc config core.analytics false", "dvc add -q data",
                    f"dvc remote add -q -d storage {remote}", "dvc push -q"):  # fmt: skip
        subprocess.run(command.split(), check=True, capture_output=True)
    config = tmp_path / ".dvc/config"  # DVC itself takes a path for a folder, and no address
    config.write_text(re.sub(r"url = .*", f"url = {remote.as_uri()}", config.read_text()))
    return remote


def test_the_default_data_is_what_data_dvc_records_in_dvcs_default_remote(double, said, pushed, tmp_path):
    assert main(["submit", *FILES]) == 0
    sent = double.runs["r0"].runtime_config.parameters
    assert sent["data"] == pushed.as_uri()
    assert sent["digest"] == yaml.safe_load((tmp_path / "data.dvc").read_text())["outs"][0]["md5"]


def test_what_was_found_damaged_is_not_taken_from_the_cache(double, said, pushed, tmp_path):
    other, store = tmp_path / "settings.yaml", tmp_path / "store"
    other.write_text((ROOT / settings.FILE).read_text().replace("store: s3://darkroom", f"store: {store.as_uri()}"))
    submit = ["submit", *FILES, "--settings", str(other)]
    assert main(submit) == 0
    Store(store.as_uri()).write("again/0f3a", "s3://bucket/prepared")
    assert main(submit) == main(submit) == 0
    first, second, third = (run.runtime_config.parameters["code"] for run in double.runs.values())
    assert re.fullmatch(rf"{first}\+[0-9a-f]{{8}}", second)  # other cache keys, of the same code
    assert third == second


def test_a_folder_of_this_machine_is_no_place_to_publish(said, pushed, tmp_path):
    subprocess.run(["dvc", "remote", "modify", "-q", "storage", "url", str(tmp_path / "remote")], check=True)
    assert main(["publish"]) == 2
    assert "a cluster cannot reach a folder of this machine" in said()


def test_a_schedule_reads_the_newest_data_each_time_unless_it_is_given_some(double, said, pushed, tmp_path):
    command = ["schedule", *FILES, "--cron", "0 2 * * *"]
    assert main(command) == 2
    assert "data.dvc: cannot be read" in (shown := said())
    assert "`python -m pipelines publish` puts it there" in shown
    assert double.requests == []
    shutil.copy(tmp_path / "data.dvc", pushed / "data.dvc")
    assert main([*command, "--name", "pointer"]) == 0
    (branch := tmp_path / "branch.dvc").write_text((tmp_path / "data.dvc").read_text())
    assert main([*command, "--name", "branch", "--follow", branch.as_uri()]) == 0
    digest = yaml.safe_load(branch.read_text())["outs"][0]["md5"]
    assert main([*command, "--name", "fixed", "--digest", digest]) == 0
    of = {made.display_name: made for made in double.schedules.values()}
    digests = {name: made.runtime_config.parameters["digest"] for name, made in of.items()}
    assert digests == {"pointer": f"{pushed.as_uri()}/data.dvc", "branch": branch.as_uri(), "fixed": digest}
    graphs = [
        double.uploaded[of[name].pipeline_version_reference.pipeline_version_id] for name in ("pointer", "branch", "fixed")
    ]
    assert ["newest" in graph for graph in graphs] == [True, True, False]
    assert main([*command, "--name", "pointer", "--when-drifted", "s3://b/answers"]) == 0
    (made,) = (made for made in double.schedules.values() if made.display_name == "pointer")
    assert "constant: s3://b/answers" in double.uploaded[made.pipeline_version_reference.pipeline_version_id]
    assert main([*command, "--when-drifted", "a", "--digest", "b"]) == 2
    assert "--digest, --when-drifted: " in said()
    assert main([*command, "--follow", "a", "--digest", "b"]) == 2


def test_schedules_are_made_replaced_listed_and_deleted(double, said):
    assert main(["schedule", *UNCHECKED, "--cron", "0 2 * * *"]) == 0
    first = next(iter(double.schedules))
    assert double.schedules[first].status == "ENABLED"
    assert double.schedules[first].description
    assert double.schedules[first].trigger.cron_schedule.cron == "0 0 2 * * *"
    assert main(["schedule", *UNCHECKED, "--cron", "0 30 3 * * 1"]) == 0
    (second,) = double.schedules
    assert second != first
    double.next = [Frame("succeeded", 0.5)] * 3
    assert main(["submit", *UNCHECKED, "--name", "mine"]) == 0
    said()
    assert main(["list"]) == 0
    shown = said()
    assert re.search(rf"{second}  enabled +0 30 3 \* \* 1 +darkroom", shown)
    assert "mine" in shown
    assert main(["stop", "r0"]) == 0
    assert double.frames["r0"] == [Frame("stopped-training")]
    assert main(["stop", second]) == 0
    assert not double.schedules
    assert main(["schedule", *UNCHECKED, "--cron", "hourly"]) == 2
    assert "expected five fields" in said()


def test_a_schedule_that_cannot_be_enabled_is_said_to_start_nothing(double, said, monkeypatch):
    answer = double.answer
    assert main(["schedule", *UNCHECKED, "--cron", "0 2 * * *"]) == 0
    monkeypatch.setattr(double, "answer", lambda *given: (500, {"message": "gone"}) if "enable" in given[1] else answer(*given))
    assert main(["schedule", *UNCHECKED, "--cron", "0 3 * * *"]) == 2
    assert "gone (500); schedule darkroom starts no runs now: the same command again replaces it" in said()
    assert [made.status for made in double.schedules.values()] == ["DISABLED"] * 2
    monkeypatch.setattr(double, "answer", answer)
    assert main(["schedule", *UNCHECKED, "--cron", "0 3 * * *"]) == 0
    assert [made.status for made in double.schedules.values()] == ["ENABLED"]


@pytest.mark.parametrize(
    "health",
    [("all is well", "text/plain"), ('{"status": "ok"}', "application/json"), ("", "application/json"), ("[]", "application/json"),
     ('{"multi_user": "yes"}', "application/json"), ("\xff", "application/octet-stream")],
)  # fmt: skip
def test_a_server_that_is_not_kubeflow_is_refused_in_a_line(double, said, health):
    double.health = health
    for command in (["list"], ["stop", "abc"], ["submit", *UNCHECKED]):
        assert main(command) == 2
        shown = said()
        assert "is KFP_HOST the address of the API" in shown
        assert len(shown.splitlines()) == 1


def test_an_answer_that_is_not_kubeflows_is_no_empty_list(double, said, monkeypatch):
    monkeypatch.setattr(double, "answer", lambda *_: (200, "nothing here"))
    double.health = ('{"tag_name": "2.17.0", "multi_user": true}', "application/json")
    assert main(["list"]) == 2
    assert "answers with something else than Kubeflow does" in said()


def test_the_namespace_counts_where_there_are_several_users(double, said, monkeypatch):
    monkeypatch.delenv("KFP_NAMESPACE")
    assert main(["submit", *UNCHECKED]) == 2
    assert "is for several users; set KFP_NAMESPACE" in said()
    assert [request for request in double.requests if "healthz" not in request] == []
    double.multi_user = False
    assert main(["submit", *UNCHECKED]) == 0
    assert "KFP_NAMESPACE" not in said()
    monkeypatch.setenv("KFP_NAMESPACE", "team")
    assert main(["submit", *UNCHECKED]) == 0
    assert "is for one user, and ignores KFP_NAMESPACE=team" in said()
    assert double.pipelines["p0"].namespace is None


@pytest.mark.parametrize("token", [f"{TOKEN}\nsecond", f"{TOKEN}\r\nx: y", f"{TOKEN} more", f"{TOKEN}é"])
def test_a_token_of_several_lines_is_refused_and_not_shown(double, said, monkeypatch, tmp_path, token):
    file = tmp_path / "token"
    file.write_text(token)
    for name, value in (("KF_PIPELINES_SA_TOKEN_PATH", str(file)), ("KFP_COOKIES", f"{token}\n"), ("KFP_TOKEN", token)):
        monkeypatch.delenv("KFP_TOKEN", raising=False)
        monkeypatch.setenv(name, value)
        assert main(["list"]) == 2
        assert f"{name}: " in (shown := said())
        assert "expected one line of plain characters" in shown
        assert len(shown.splitlines()) == 1
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [("expired", "(401: service account token has expired)"),
     ("invalidated", "(401: service account token has been invalidated)"),
     ("audience", 'target audiences ["pipelines.kubeflow.org"]); make the token with `kubectl create token')],
)  # fmt: skip
def test_a_refused_token_keeps_its_reason(double, said, trouble, told):
    double.trouble = ["", trouble]
    assert main(["list"]) == 2
    assert told in said()


def test_two_submits_of_a_new_version_at_the_same_moment_are_one_version(double, said, monkeypatch):
    """Both find nothing, both make it: the second is told 409."""
    answer = double.answer
    hidden = {"GET /v2beta1/pipelines/names/darkroom", "GET /v2beta1/experiments", "GET /v2beta1/pipelines/p0/versions"}
    assert main(["submit", *UNCHECKED]) == 0

    def late(method, path, query, body):
        key = f"{method} {path.removeprefix('/apis')}"
        if key in hidden:
            hidden.remove(key)
            return (404, {"message": "not found"}) if "names" in key else (200, {})
        return answer(method, path, query, body)

    monkeypatch.setattr(double, "answer", late)
    assert main(["submit", *UNCHECKED]) == 0
    assert not hidden
    assert len(double.versions) == len(double.pipelines) == len(double.experiments) == 1

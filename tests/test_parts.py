"""What is computed of a shard is kept and computed once, with the same bytes as at home; data comes by reference."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, draw_clips, draw_shards, draw_stills

from components.__main__ import call, parts
from components.ingest.step import ingest
from components.shared import files, parallel
from components.shared.data import dataset
from components.shared.data.remote import Shards
from components.shared.errors import CannotRun
from components.shared.store import STORE

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
KNOBS = PARAMS["prepare"] | {"height": 16, "width": 16, "channels": 3}


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture
def data(request, tmp_path: Path) -> Path:
    return draw_shards(tmp_path, getattr(request, "param", draw_stills))


def digest_of(data: Path) -> str:
    return dataset.data_digest({file.name: files.digest(file, "md5") for file in dataset.shards(data)})


def all_steps(data: Path | str, to: Path, digest: str = "", **changes: object) -> Path:
    call("measure", data=data, digest=digest, section="measure", config=PARAMS["measure"], manifest=to / "manifest")
    call("validate", section="validate", manifest=to / "manifest", config=PARAMS["validate"], validation=to / "validation")
    call("prepare", section="prepare", data=data, digest=digest, manifest=to / "manifest", verdict=to / "validation/summary.json",
         pairs=to / "validation/pairs.parquet", config=KNOBS | changes, prepared=to / "prepared")  # fmt: skip
    return to


@pytest.fixture
def store(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv(STORE, (tmp_path / "store").as_uri())
    return tmp_path / "store/parts"


@pytest.mark.parametrize("data", [draw_stills, draw_clips], indirect=True)
def test_what_is_kept_gives_what_is_computed_at_home(data, tmp_path, monkeypatch):
    at_home = all_steps(data, tmp_path / "home")
    monkeypatch.setenv(STORE, (tmp_path / "store").as_uri())
    computed, found = (all_steps(data, tmp_path / name, digest_of(data)) for name in ("computed", "found"))
    for name in ("manifest", "prepared"):
        assert content(computed / name) == content(found / name) == content(at_home / name)
    for name in ("findings.json", "summary.json", "findings.parquet", "report.html", "classes.png"):
        assert (found / "validation" / name).read_bytes() == (at_home / "validation" / name).read_bytes(), name


def written(store: Path, before: dict[str, float]) -> dict[str, int]:
    """How many files of each step are new since then."""
    new = [path.parent.name for path in store.rglob("*") if path.is_file() and before.get(str(path)) != path.stat().st_mtime_ns]
    return {step: new.count(step) for step in ("measure", "prepare")}


def state(store: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}


def test_a_new_shard_costs_one_part_and_another_split_none(data, store, tmp_path, capsys):
    (tmp_path / "more.parquet").write_bytes((data / "00002.parquet").read_bytes())
    (data / "00002.parquet").unlink()
    all_steps(data, tmp_path / "first")
    assert written(store, {}) == {"measure": 2, "prepare": 2}
    before = state(store)
    all_steps(data, tmp_path / "again", split_seed=99, validation_fraction=0.2)
    assert written(store, before) == {"measure": 0, "prepare": 0}
    (tmp_path / "more.parquet").rename(data / "00002.parquet")
    capsys.readouterr()
    all_steps(data, tmp_path / "more")
    assert written(store, before) == {"measure": 1, "prepare": 1}
    assert "1 shard measured, 2 kept" in capsys.readouterr().out
    before = state(store)
    all_steps(data, tmp_path / "larger", height=20)
    assert written(store, before) == {"measure": 0, "prepare": 3}  # another size is another decoding


def test_all_shares_are_the_whole_and_the_last_step_finds_all_kept(data, store, tmp_path):
    kept = parts("measure", section="measure", data=str(data), digest="", config=PARAMS["measure"])
    kept.make(kept.missing("2/3")[:1])
    shares = [kept.missing(f"{number}/3") for number in (1, 2, 3)]
    assert shares == [["00000.parquet"], [], ["00002.parquet"]]  # the same shares, whatever is kept already
    for share in shares:
        kept.make(share)
    before = state(store)
    call("measure", data=data, section="measure", config=PARAMS["measure"], manifest=tmp_path / "manifest")
    assert state(store) == before


def test_what_was_damaged_in_the_store_is_not_used_and_is_computed_again(data, store, tmp_path):
    all_steps(data, tmp_path / "first")
    for step in ("measure", "prepare"):
        kept = next((store / step).iterdir())
        kept.write_bytes(kept.read_bytes()[:-100] + bytes(100))
        with pytest.raises(CannotRun, match=f"{step}: the results of .* were damaged in the store; run again"):
            all_steps(data, tmp_path / "damaged")
        assert content(all_steps(data, tmp_path / step) / "prepared") == content(tmp_path / "first/prepared")


def test_nothing_is_brought_here_of_what_is_kept(pushed, store, tmp_path):
    remote, digest = pushed
    all_steps(remote.as_uri(), tmp_path / "first", digest)
    for file in remote.rglob("*"):
        if file.is_file() and not file.name.endswith(".dir"):
            file.unlink()
    assert content(all_steps(remote.as_uri(), tmp_path / "again", digest) / "prepared") == content(tmp_path / "first/prepared")
    with pytest.raises(CannotRun, match="does not hold"):
        all_steps(remote.as_uri(), tmp_path / "larger", digest, height=20)


def test_data_that_is_not_what_was_asked_for_is_refused(data, store, tmp_path):
    with pytest.raises(CannotRun, match=f"the data is {digest_of(data)}, expected 0"):
        all_steps(data, tmp_path / "to", "0" * 32 + ".dir")
    all_steps(data, tmp_path / "to")
    shutil.copy(data / "00000.parquet", data / "00001.parquet")
    with pytest.raises(CannotRun, match=r"00001\.parquet: changed since it was measured"):
        call("prepare", section="prepare", data=data, manifest=tmp_path / "to/manifest", config=KNOBS,
             verdict=tmp_path / "to/validation/summary.json", pairs=tmp_path / "to/validation/pairs.parquet",
             prepared=tmp_path / "p")  # fmt: skip


@pytest.fixture(scope="module")
def remote_before(tmp_path_factory) -> tuple[Path, str]:
    """Stills in a real DVC remote (a folder), put there by `dvc push`; the remote and what data.dvc records."""
    tmp_path = tmp_path_factory.mktemp("pushed")
    project = tmp_path / "project"
    project.mkdir()
    ingest(draw_stills(tmp_path / "stills"), project / "data")
    for command in ("git init -q", "dvc init -q", "dvc config core.analytics false", "dvc add -q data",
                    f"dvc remote add -q -d storage {tmp_path / 'remote'}", "dvc push -q"):  # fmt: skip
        subprocess.run(command.split(), cwd=project, check=True, capture_output=True)
    return tmp_path / "remote", yaml.safe_load((project / "data.dvc").read_text())["outs"][0]["md5"]


@pytest.fixture
def pushed(remote_before, tmp_path: Path) -> tuple[Path, str]:
    """A copy of it, to be damaged."""
    return shutil.copytree(remote_before[0], tmp_path / "remote"), remote_before[1]


def shards_of(data: str, digest: str):
    shards = Shards(data, digest)
    for few in shards.few(shards.names):
        yield from [(shard, shard.read_bytes()) for shard in few]


def test_data_is_taken_out_of_a_dvc_remote_by_its_digest(pushed):
    remote, digest = pushed
    for address in (str(remote), f"file://{remote}"):
        found = dict(shards_of(address, digest))
        assert dataset.data_digest({shard.name: hashlib.md5(content).hexdigest() for shard, content in found.items()}) == digest
        assert not any(shard.exists() for shard in found)  # nothing is left behind


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"x"), "is not what its name says"),
        (lambda file: file.write_bytes(file.read_bytes()[:100]), "is not what its name says"),
        (lambda file: file.unlink(), "does not hold"),
    ],
)
def test_what_arrives_otherwise_than_it_was_sent_is_refused(pushed, damage, told):
    remote, digest = pushed
    shard = next(file for file in remote.rglob("*") if file.is_file() and not file.name.endswith(".dir"))
    shard.chmod(0o644)
    damage(shard)
    with pytest.raises(CannotRun, match=told):
        list(shards_of(str(remote), digest))


def test_a_listing_that_was_tampered_with_is_refused(pushed):
    remote, digest = pushed
    listed = next(remote.rglob("*.dir"))
    listed.chmod(0o644)
    entries = json.loads(listed.read_text())
    listed.write_text(json.dumps([{**entries[0], "relpath": "../../outside.parquet"}]))
    with pytest.raises(CannotRun, match=r"the listing of .* is damaged"):
        Shards(str(remote), digest)
    with pytest.raises(CannotRun, match=r"does not hold 0{32}\.dir; `dvc push`"):
        Shards(str(remote), "0" * 32 + ".dir")


@pytest.mark.parametrize(
    ("granted", "environment", "limit", "expected"),
    [
        (8, "", "max", 8),
        (8, "2", "max", 2),
        (8, "500m", "max", 1),
        (2, "1500m", "max", 2),
        (2, "4", "max", 2),
        (8, "", str(2**30), 4),  # of memory a quarter of a GiB each
        (8, "", str(2**20), 1),
    ],
)
def test_workers_are_as_many_as_processors_and_memory_are_ours(tmp_path, monkeypatch, granted, environment, limit, expected):
    (tmp_path / "memory.max").write_text(limit + "\n")
    monkeypatch.setattr(parallel, "CGROUP", tmp_path)
    monkeypatch.setattr(parallel, "granted", lambda: granted)
    monkeypatch.setenv(parallel.CPUS, environment)
    assert parallel.processors() == expected
    (tmp_path / "memory.max").rename(tmp_path / "elsewhere")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text("9223372036854771712" if limit == "max" else limit)
    assert parallel.processors() == expected


def test_a_quota_of_the_cgroup_counts(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # as loky, which reads quotas, is told by hand
    assert parallel.granted() == 1

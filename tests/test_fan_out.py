"""A step's work spread over machines, shard by shard, gives byte for byte what one machine gives; data comes by reference."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, draw_clips, draw_stills

from components.__main__ import call
from components.ingest.step import ingest
from components.shared import files
from components.shared.data import dataset
from components.shared.data.remote import fetched
from components.shared.errors import CannotRun

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
KNOBS = PARAMS["prepare"] | {"height": 16, "width": 16, "channels": 3}


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture
def data(request, tmp_path: Path) -> Path:
    """Several shards: one a run of `ingest`, put side by side."""
    draw = getattr(request, "param", draw_stills)
    (tmp_path / "data").mkdir()
    for number in range(3):
        source = draw(tmp_path / f"source{number}", seed=number)
        for folder in list(source.iterdir()):
            for file in sorted(folder.rglob("*"), reverse=True):
                file.rename(file.with_name(f"{number}{file.name}"))
        ingest(source, tmp_path / f"d{number}")
        shutil.copy(tmp_path / f"d{number}/00000.parquet", tmp_path / f"data/{number:05}.parquet")
    return tmp_path / "data"


def digest_of(data: Path) -> str:
    return dataset.data_digest({file.name: files.digest(file, "md5") for file in dataset.shards(data)})


def one_machine(data: Path, to: Path) -> None:
    call("measure", data=data, section="measure", config=PARAMS["measure"], manifest=to / "manifest")
    call("validate", section="validate", manifest=to / "manifest", config=PARAMS["validate"], validation=to / "validation")
    call("prepare", section="prepare", data=data, manifest=to / "manifest", verdict=to / "validation/summary.json",
         pairs=to / "validation/pairs.parquet", config=KNOBS, prepared=to / "prepared")  # fmt: skip


def judged(to: Path) -> dict[str, Path]:
    return {"manifest": to / "manifest", "verdict": to / "validation/summary.json", "pairs": to / "validation/pairs.parquet"}


def many_machines(data: str, digest: str, to: Path, parts: int) -> None:
    numbered = [f"{number}/{parts}" for number in range(1, parts + 1)]
    for number, part in enumerate(numbered):
        with fetched(data, digest, part=part) as shards:
            call("measure_part", data=shards, section="measure", config=PARAMS["measure"], manifest=to / f"m{number}")
    call("gather_manifest", parts=[to / f"m{n}" for n in range(parts)][::-1], digest=digest, manifest=to / "manifest")
    call("validate", section="validate", manifest=to / "manifest", config=PARAMS["validate"], validation=to / "validation")
    call("plan_arrays", section="prepare", planned=to / "plan", config=KNOBS, **judged(to))
    for number, part in enumerate(numbered):
        with fetched(data, digest, part=part) as shards:
            call("prepare_part", section="prepare", data=shards, planned=to / "plan", config=KNOBS, prepared=to / f"p{number}")
    call("gather_arrays", parts=[to / f"p{n}" for n in range(parts)][::-1], planned=to / "plan", prepared=to / "prepared")


@pytest.mark.parametrize(("data", "parts"), [(draw_stills, 2), (draw_clips, 5)], indirect=["data"])  # 5: more than shards
def test_many_machines_give_what_one_gives(data, tmp_path, parts):
    one_machine(data, tmp_path / "one")
    many_machines(str(data), digest_of(data), tmp_path / "many", parts)
    assert content(tmp_path / "many/manifest") == content(tmp_path / "one/manifest")
    assert content(tmp_path / "many/prepared") == content(tmp_path / "one/prepared")
    for name in ("findings.json", "summary.json", "findings.parquet", "report.html", "classes.png"):
        many, one = (tmp_path / where / "validation" / name for where in ("many", "one"))
        assert many.read_bytes() == one.read_bytes(), name


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


def test_data_is_taken_out_of_a_dvc_remote_by_its_digest(pushed):
    remote, digest = pushed
    for address in (str(remote), f"file://{remote}"):
        with fetched(address, digest) as shards:
            assert digest_of(shards) == digest
    assert not shards.exists()  # nothing is left behind


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
    with pytest.raises(CannotRun, match=told), fetched(str(remote), digest):
        pass


def test_a_listing_that_was_tampered_with_is_refused(pushed):
    remote, digest = pushed
    listed = next(remote.rglob("*.dir"))
    listed.chmod(0o644)
    entries = json.loads(listed.read_text())
    listed.write_text(json.dumps([{**entries[0], "relpath": "../../outside.parquet"}]))
    with pytest.raises(CannotRun, match=r"the listing of .* is damaged"), fetched(str(remote), digest):
        pass
    with pytest.raises(CannotRun, match=r"does not hold 0{32}\.dir; `dvc push`"), fetched(str(remote), "0" * 32 + ".dir"):
        pass


def test_parts_of_other_data_are_not_put_together(data, tmp_path):
    with fetched(str(data), "", part="1/2") as shards:
        call("measure_part", data=shards, section="measure", config=PARAMS["measure"], manifest=tmp_path / "m0")
    with pytest.raises(CannotRun, match=f"expected {digest_of(data)}"):
        call("gather_manifest", parts=[tmp_path / "m0"], digest=digest_of(data), manifest=tmp_path / "manifest")
    assert not (tmp_path / "manifest").exists()


@pytest.fixture
def plan(data, tmp_path: Path) -> Path:
    one_machine(data, tmp_path)
    call("plan_arrays", section="prepare", planned=tmp_path / "plan", config=KNOBS, **judged(tmp_path))
    return tmp_path / "plan"


def decoded(data: Path, plan: Path, part: str, to: Path, **changes: object) -> Path:
    with fetched(str(data), "", part=part) as shards:
        call("prepare_part", section="prepare", data=shards, planned=plan, config=KNOBS | changes, prepared=to)
    return to


def test_a_machine_that_decodes_is_sent_no_previews_and_no_manifest(plan):
    size = sum(file.stat().st_size for file in plan.rglob("*") if file.is_file())
    manifest = sum(file.stat().st_size for file in (plan.parent / "manifest").iterdir())
    assert size < manifest / 4


def test_a_shard_that_changed_under_the_run_is_refused(data, plan, tmp_path):
    shards = dataset.shards(data)
    shutil.copy(shards[0], shards[1])
    with pytest.raises(CannotRun, match=r"00001\.parquet: changed since it was measured"):
        call("prepare_part", section="prepare", data=data, planned=plan, config=KNOBS, prepared=tmp_path / "p0")
    shutil.copy(shards[0], data / "00007.parquet")
    with pytest.raises(CannotRun, match=r"00007\.parquet: was not measured"):
        call("prepare_part", section="prepare", data=data, planned=plan, config=KNOBS, prepared=tmp_path / "p0")


def test_a_missing_part_and_one_that_came_twice_are_noticed(data, plan, tmp_path):
    first, second = (decoded(data, plan, f"{n}/2", tmp_path / f"p{n}") for n in (1, 2))
    for parts, told in (([first], "were not decoded, 0 came twice"), ([first, second, second], "0 of .* came twice")):
        with pytest.raises(CannotRun, match=told):
            call("gather_arrays", parts=parts, planned=plan, prepared=tmp_path / "gathered")
    assert not (tmp_path / "gathered").exists()


def test_a_part_of_another_run_is_refused(data, plan, tmp_path):
    first = decoded(data, plan, "1/2", tmp_path / "p1")
    other = KNOBS | {"split_seed": 99}
    call("plan_arrays", section="prepare", planned=tmp_path / "other", config=other, **judged(tmp_path))
    second = decoded(data, tmp_path / "other", "2/2", tmp_path / "p2", split_seed=99)
    with fetched(str(data), "", part="1/2") as shards, pytest.raises(CannotRun, match="planned with other knobs of prepare"):
        call("prepare_part", section="prepare", data=shards, planned=plan, config=other, prepared=tmp_path / "p3")
    with pytest.raises(CannotRun, match=r"p2: was decoded for another run .*other knobs of prepare"):
        call("gather_arrays", parts=[first, second], planned=plan, prepared=tmp_path / "gathered")

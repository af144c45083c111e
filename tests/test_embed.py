"""A vector per sample: near where samples look alike, the same each time, and of new shards alone; what does not decode has none."""

import itertools
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import MEASURE, ROOT, draw_clips, draw_shards, draw_stills, drawing, png

from components.__main__ import call, parts
from components.embed.config import EmbedConfig
from components.embed.reduction import index
from components.embed.step import embed
from components.ingest.step import ingest
from components.measure.step import measure
from components.shared.data import dataset, embeddings, manifest
from components.shared.errors import CannotRun
from components.shared.store import STORE

KNOBS = {"network": "efficientnet-lite0", "side": 32, "dimensions": 8, "frames": 3}


def run(data: Path, to: Path, **changes: object) -> Path:
    """Embeddings of a folder of shards, in `to`."""
    measure(data=str(data), config=MEASURE, manifest=to / "manifest")
    model = changes.pop("model", None)
    config = EmbedConfig(**KNOBS | changes)
    embed(data=str(data), manifest=to / "manifest", config=config, embeddings=to / "embeddings", model=model)
    return to / "embeddings"


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Data of three shards, its manifest and its embeddings; to be looked at alone."""
    folder = tmp_path_factory.mktemp("made")
    run(draw_shards(folder, lambda to, seed: draw_stills(to, each=4, size=32, seed=seed)), folder)
    return folder


@pytest.fixture
def copy(made, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_a_vector_of_unit_length_for_each_row_of_the_manifest_in_its_order(made):
    found = embeddings.read(made / "embeddings")
    rows = [row for _, table in manifest.parts(made / "manifest", ["id", "source", "label"]) for row in table.to_pylist()]
    assert found.table.select(["id", "source", "label"]).to_pylist() == rows
    assert found.vectors.shape == (len(rows), 8) == (36, 8)
    assert found.vectors.dtype == np.float16
    assert (found.levels.shape, found.levels.dtype) == ((36, embeddings.WIDTH), np.uint8)
    assert np.allclose(np.linalg.norm(found.vectors.astype(np.float32), axis=1), 1, atol=2e-3)
    assert (found.network, found.side, found.data_digest) == ("efficientnet-lite0", 32, manifest.data_digest(made / "manifest"))
    near, cosines = found.nearest(found.vectors, 3)
    assert (near[:, 0] == np.arange(36)).mean() > 0.95  # itself, but for twins of it
    assert np.allclose(cosines[:, 0], 1, atol=2e-3)
    assert "bar/" in (made / "embeddings/map.html").read_text()


def test_the_same_data_is_the_same_bytes_however_it_was_done(made, tmp_path, monkeypatch, capsys):
    again = content(run(made / "data", tmp_path / "again"))
    assert again == content(made / "embeddings")
    monkeypatch.setenv(STORE, (tmp_path / "store").as_uri())
    for told in ("3 shards embedded, 0 kept", "0 shards embedded, 3 kept"):  # with a store, no part is in the folder
        stored = content(run(made / "data", tmp_path / "stored"))
        assert told in capsys.readouterr().out
        alike = stored.keys() - {".darkroom"}
        assert {name: again[name] for name in alike} == {name: stored[name] for name in alike}
        assert not [name for name in stored if name.startswith("parts")]
    given = {"section": "embed", "data": str(made / "data"), "digest": ""}  # as pods have it that compute a share each
    assert parts("embed", **given, config=KNOBS).missing("1/3") == []
    assert parts("embed", **given, config=KNOBS | {"side": 64}).missing("1/3") == ["00000.parquet"]
    assert parts("embed", **given, config=KNOBS | {"network": "none"}) is None


def test_a_new_shard_costs_itself_alone_and_other_dimensions_nothing(copy, capsys):
    shard = copy / "data/00002.parquet"
    shard.rename(copy / "aside")
    run(copy / "data", copy)
    assert "0 shards embedded, 2 kept" in capsys.readouterr().out
    assert len(list((copy / "embeddings/parts").iterdir())) == 2  # what is no part of the data any more is gone
    (copy / "aside").rename(shard)
    run(copy / "data", copy)
    assert "1 shard embedded, 2 kept" in capsys.readouterr().out
    run(copy / "data", copy, dimensions=4)
    assert "0 shards embedded, 3 kept" in capsys.readouterr().out
    assert embeddings.read(copy / "embeddings").vectors.shape == (36, 4)


def test_a_damaged_part_is_made_again(made, copy, capsys):
    part = sorted((copy / "embeddings/parts").iterdir())[0]
    damaged = bytearray(part.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    part.write_bytes(damaged)
    assert content(run(copy / "data", copy)) == content(made / "embeddings")
    assert "1 shard embedded, 2 kept" in capsys.readouterr().out


def test_what_is_done_when_it_is_killed_is_kept(made, copy, capsys):
    shutil.rmtree(copy / "embeddings")
    script = (
        "import os, signal; from pathlib import Path; from components.embed import step; from test_embed import run\n"
        "whole = step.embed_shards\n"
        "def killed(parts, *rest):\n"
        "    if next(iter(parts)).name == '00001.parquet':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    whole(parts, *rest)\n"
        f"step.embed_shards = killed; run(Path({str(copy / 'data')!r}), Path({str(copy)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT / "tests", env={"PYTHONPATH": f"{ROOT}", "PATH": "/bin"})
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(CannotRun, match=r"embeddings\.json: no such file"):
        embeddings.read(copy / "embeddings")
    assert content(run(copy / "data", copy)) == content(made / "embeddings")
    assert "2 shards embedded, 1 kept" in capsys.readouterr().out


def test_what_does_not_decode_has_no_vector_and_is_in_neither_index_nor_map(tmp_path):
    stills = draw_stills(tmp_path / "stills", each=5)
    (stills / "bar" / "note.png").write_text("not a picture")
    ingest(str(stills), tmp_path / "data")
    found = embeddings.read(run(tmp_path / "data", tmp_path))
    rows = found.table.to_pandas().set_index("source")
    row = rows.index.get_loc("bar/note.png")
    assert not found.vectors[row].any()
    assert rows.loc["bar/note.png", ["cluster", "outlier", "x", "y", "label_next"]].isna().all()
    assert rows.drop(index="bar/note.png")[["cluster", "outlier", "x", "y"]].notna().all().all()
    near, _ = found.nearest(found.vectors[:1], 200)
    assert len(near[0]) == 15
    assert row not in near


@pytest.mark.parametrize("samples", [0, 1, 2])
def test_hardly_any_data_is_no_crash(tmp_path, samples):
    rng = np.random.default_rng(0)
    pictures = [png(drawing("box", rng, size=32)) if number < samples else b"no picture" for number in range(3)]
    (tmp_path / "data").mkdir()
    written = [dataset.Sample(None, f"{number}.png", ((each, "x.png"),)) for number, each in enumerate(pictures)]
    dataset.write_shard(written, tmp_path / "data/00000.parquet")
    found = embeddings.read(run(tmp_path / "data", tmp_path))
    assert found.rows == 3
    assert [bool(vector.any()) for vector in found.vectors] == [number < samples for number in range(3)]
    assert found.nearest(found.vectors[:1], 5)[0].shape == (1, samples)


def test_a_clip_s_vector_is_the_mean_over_its_frames_and_grey_is_seen_as_colours(tmp_path):
    rng = np.random.default_rng(0)
    frames = [png(drawing("box", rng, size=32)) for _ in range(3)]
    mixed = [dataset.Sample("clip", "clip", tuple((each, f"{n}.png") for n, each in enumerate(frames)))]
    mixed += [dataset.Sample("still", f"{n}.png", ((each, f"{n}.png"),)) for n, each in enumerate(frames)]
    grey = drawing("box", rng, size=32)[:, :, 0]
    mixed += [dataset.Sample("grey", "l.png", ((png(grey), "l.png"),))]
    mixed += [dataset.Sample("grey", "rgb.png", ((png(np.stack([grey] * 3, axis=-1)), "rgb.png"),))]
    (tmp_path / "data").mkdir()
    dataset.write_shard(mixed, tmp_path / "data/00000.parquet")
    (part,) = (run(tmp_path / "data", tmp_path) / "parts").iterdir()
    clip, one, two, three, plain, coloured = (
        np.frombuffer(each, np.float16).astype(np.float32) for each in pq.read_table(part)["features"].to_pylist()
    )
    assert clip.shape == (1280,)
    assert np.allclose(clip, (one + two + three) / 3, atol=2e-3)
    assert not np.allclose(one, two, atol=1e-2)
    assert np.allclose(plain, coloured, atol=1e-3)


def test_clips_are_thinned_to_as_many_frames_as_the_knob_says(tmp_path, capsys):
    ingest(str(draw_clips(tmp_path / "clips", each=3)), tmp_path / "data")
    one, three = (run(tmp_path / "data", tmp_path / str(frames), frames=frames) for frames in (1, 3))
    assert embeddings.read(one).rows == embeddings.read(three).rows == 6
    first, third = (next((each / "parts").iterdir()).read_bytes() for each in (one, three))
    assert first != third


def test_none_is_quick_valid_and_loads_no_tensorflow(made, tmp_path):
    script = (
        "import sys; from components.__main__ import main\n"
        f"assert main(['embed', '--data', {str(made / 'data')!r}, '--manifest', {str(made / 'manifest')!r}, '--config', 'embed', "
        f"'--params', {str(ROOT / 'params.yaml')!r}, '--embeddings', {str(tmp_path / 'none')!r}]) == 0\n"
        "assert not {'tensorflow', 'keras', 'sklearn', 'usearch', 'openTSNE'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "none, as the knob embed.network says" in done.stdout
    assert embeddings.read(tmp_path / "none") is None


def test_other_data_than_was_measured_is_refused(copy):
    shutil.copy(copy / "data/00000.parquet", copy / "data/00003.parquet")
    config = EmbedConfig(**KNOBS)
    with pytest.raises(CannotRun, match=r"00003\.parquet: was not measured; `dvc repro measure` brings"):
        embed(data=str(copy / "data"), manifest=copy / "manifest", config=config, embeddings=copy / "embeddings")


@pytest.mark.parametrize("name", ["vectors.npy", "samples.parquet", "index.usearch", "embeddings.json"])
def test_what_is_cut_short_or_of_other_rows_is_told_in_a_line(copy, name):
    file = copy / "embeddings" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    def used() -> None:
        found = embeddings.read(copy / "embeddings")
        found.nearest(found.vectors[:1], found.table.num_rows)

    with pytest.raises(CannotRun, match=rf"{name}: .*; .*dvc repro"):
        used()


def test_a_network_that_was_trained_here_sees_what_it_was_trained_on(made, tmp_path):
    from components.shared.models import backend, keras_file
    from components.train import presets

    backend.start(seed=1)
    model, shape = tmp_path / "model", (12, 10, 1)
    network = presets.network("cnn", "default", shape, 3, dropout=0.0)
    knobs = {"prepare": {"height": 12, "width": 10, "channels": 1, "resize": "pad", "max_frames": 16}}
    record = {"name": "cnn", "shape": shape, "knobs": knobs, "model": keras_file.save(network, model)}
    (model / "run.json").write_text(json.dumps(record))
    found = embeddings.read(run(made / "data", tmp_path, model=model))
    assert (found.network, found.model, found.sha256) == ("cnn", str(model), record["model"]["sha256"])
    part = pq.read_table(next((tmp_path / "embeddings/parts").iterdir()))
    assert len(part["features"][0].as_py()) == 2 * network.get_layer("logits").input.shape[-1]
    assert np.linalg.norm(found.vectors[0].astype(float)) == pytest.approx(1, abs=2e-3)


def test_the_step_takes_what_a_pipeline_gives_it(made, tmp_path):
    call("embed", section="embed", data=made / "data", digest="", manifest=made / "manifest", config=KNOBS,
         embeddings=tmp_path / "embeddings")  # fmt: skip
    alike = itertools.islice(sorted((tmp_path / "embeddings").glob("*.*")), 9)
    assert {file.name: file.read_bytes() for file in alike} == {
        file.name: file.read_bytes() for file in (made / "embeddings").glob("*.*")
    }


def test_many_copies_of_one_picture_do_not_hide_what_is_near_to_the_others(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((4000, 64))
    vectors[1000:] = vectors[1000] + 1e-4 * rng.standard_normal((3000, 64))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    index(vectors, np.ones(4000, bool), tmp_path)
    facts = embeddings.EMPTY | {"network": "drawn", "dimensions": 64, "rows": 4000}
    found, _ = embeddings.Embeddings(tmp_path, **facts).nearest(vectors[:300], 5)
    true = np.argsort(-(vectors[:300].astype(np.float32) @ vectors.T.astype(np.float32)), axis=1, kind="stable")[:, :5]
    assert np.mean([len(set(some) & set(others)) / 5 for some, others in zip(found, true, strict=True)]) > 0.99

import subprocess
import time
import tracemalloc

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import MEASURE, ROOT, drawing, measured, png

from components.ingest.step import ingest
from components.measure.step import measure, measure_rows
from components.shared import files
from components.shared.data import dataset, manifest
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun
from components.shared.pictures.encode import encode_png


def test_a_row_per_sample_with_what_was_measured(stills, tmp_path):
    white = np.full((20, 30, 3), 255, np.uint8)
    (stills / "bar" / "white.png").write_bytes(png(white))
    ingest(str(stills), tmp_path / "data", shard_samples=50)
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "manifest")
    rows = measured(tmp_path / "manifest")
    assert len(rows) == 91
    row = rows.set_index("source").loc["bar/white.png"]
    assert (row["width"], row["height"], row["mode"], row["format"], row["frames"]) == (30, 20, "RGB", "PNG", 1)
    assert (row["brightness"], row["contrast"]) == (255, 0)
    noisy = rows.set_index("source").loc["bar/0.png"]
    pixels = dataset_pixels(stills / "bar" / "0.png")
    assert noisy["brightness"] == pytest.approx(pixels.mean(), abs=1e-3)
    assert noisy["contrast"] == pytest.approx(pixels.std(), abs=1e-3)


def dataset_pixels(file) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(file).convert("L")).astype(float)


def test_a_file_that_does_not_decode_is_a_row_with_its_reason(stills, tmp_path):
    (stills / "bar" / "note.png").write_text("not a picture")
    ingest(str(stills), tmp_path / "data")
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "manifest")
    row = measured(tmp_path / "manifest").set_index("source").loc["bar/note.png"]
    assert (row["fault_code"], row["fault"]) == ("E_NOT_IMAGE", "plain text")


def test_only_new_shards_are_measured(stills, tmp_path, capsys):
    data, parts = tmp_path / "data", tmp_path / "manifest"
    ingest(str(stills), data, shard_samples=40)
    measure(data=data, config=MEASURE, manifest=parts)
    before = {part.name: part.read_bytes() for part in parts.glob("*.parquet")}
    assert set(before) == {files.digest(shard, "md5") + ".parquet" for shard in dataset.shards(data)}
    (stills / "box" / "new.png").write_bytes(png(drawing("box", np.random.default_rng(5))))
    ingest(str(stills), data, shard_samples=40)
    capsys.readouterr()
    measure(data=data, config=MEASURE, manifest=parts)
    assert "1 shard measured, 3 kept" in capsys.readouterr().out
    assert {name: (parts / name).read_bytes() for name in before} == before
    fresh = tmp_path / "fresh"
    measure(data=data, config=MEASURE, manifest=fresh)
    assert measured(fresh).equals(measured(parts))


def test_parts_of_shards_that_are_gone_go_too(stills, tmp_path):
    ingest(str(stills), tmp_path / "data", shard_samples=40)
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "manifest")
    (tmp_path / "data" / "00002.parquet").unlink()
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "manifest")
    assert len(measured(tmp_path / "manifest")) == 80


def test_a_damaged_shard_is_named(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "00000.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(CannotRun, match=r"00000\.parquet: not a shard"):
        measure(data=data, config=MEASURE, manifest=tmp_path / "manifest")
    with pytest.raises(CannotRun, match="no such folder"):
        measure(data=tmp_path / "nowhere", config=MEASURE, manifest=tmp_path / "manifest")
    assert not (tmp_path / "manifest").exists()


def test_the_datas_digest_is_the_one_that_dvc_records(stills, here):
    import subprocess

    ingest(str(stills), here / "data", shard_samples=40)
    measure(data=here / "data", config=MEASURE, manifest=here / "manifest")
    subprocess.run(["dvc", "init", "--no-scm", "-q"], check=True)
    subprocess.run(["dvc", "add", "-q", "data"], check=True)
    assert manifest.data_digest(here / "manifest") in (here / "data.dvc").read_text()


def test_a_digest_is_of_shards_alone_and_a_run_of_the_data_that_was_named(stills, here, capsys):
    from components.__main__ import main
    from pipelines.__main__ import main as pipelines

    ingest(str(stills), here / "data", shard_samples=40)
    assert main(["digest", "data"]) == 0
    digest, other = capsys.readouterr().out.split()[-1], "0" * 32 + ".dir"
    assert pipelines(["run", "--params", str(ROOT / "params.yaml"), "--digest", other]) == 2
    told = capsys.readouterr().err
    assert told == f"data: holds {digest}, expected --digest {other}; `dvc checkout` brings it\n"
    assert not (here / "outputs").exists()
    table = pa.table({"path": ["a.png"], "label": ["a"]})
    pq.write_table(table, here / "data/zz.parquet")
    assert main(["digest", "data"]) == 2
    assert "zz.parquet: is a table of something else" in capsys.readouterr().err
    (here / "data/zz.parquet").write_bytes(b"garbage" * 99)
    assert main(["digest", "data"]) == 2
    told = capsys.readouterr()
    assert (told.out, len(told.err.splitlines())) == ("", 1)
    assert "zz.parquet: not a shard that can be read" in told.err


def test_another_decoder_makes_old_parts_outdated(stills, tmp_path, monkeypatch, capsys):
    import PIL

    ingest(str(stills), tmp_path / "data")
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "manifest")
    monkeypatch.setattr(PIL, "__version__", "99.0")
    capsys.readouterr()
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "manifest")
    assert "1 shard measured, 0 kept" in capsys.readouterr().out


def test_a_part_is_the_same_bytes_however_it_was_cut(stills, tmp_path, monkeypatch):
    ingest(str(stills), tmp_path / "data", shard_samples=60)
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "whole")
    monkeypatch.setattr("components.measure.step.BATCH", 7)
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "pieces")
    monkeypatch.setattr("components.shared.parallel.processors", lambda: 1)
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "one")
    for name in ("pieces", "one"):
        assert {part.name: part.read_bytes() for part in (tmp_path / name).iterdir()} == {
            part.name: part.read_bytes() for part in (tmp_path / "whole").iterdir()
        }


def test_no_worker_outlives_a_command_that_is_killed(tmp_path):
    for label in ("bar", "box"):
        (tmp_path / "s" / label).mkdir(parents=True)
        for number in range(256):  # two batches: work for two
            ramp = np.full((300, 300, 3), number, np.uint8) + np.arange(300).astype(np.uint8)[:, None]
            (tmp_path / "s" / label / f"{number}.png").write_bytes(png(ramp[: 299 + (label == "box")]))
    ingest(str(tmp_path / "s"), tmp_path / "data")
    command = ["darkroom", "measure", "--data", "data", "--config", "measure", "--params", str(ROOT / "params.yaml")]
    process = subprocess.Popen([*command, "--manifest", "m"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    watched, workers = psutil.Process(process.pid), []
    while len(workers) < 4:  # two of them, what they are forked from, and multiprocessing's own
        assert process.poll() is None
        workers = watched.children(recursive=True)
        time.sleep(0.02)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_large_pictures_are_read_and_measured_some_bytes_at_a_time(tmp_path):
    rng = np.random.default_rng(0)
    frames = [encode_png(rng.integers(0, 256, (1200, 1200, 3), dtype=np.uint8)) for _ in range(6)]  # 4.1 MiB each
    samples = [Sample("a", f"a/{n}.png", ((frames[n % 6], f"a/{n}.png"),)) for n in range(36)]
    shard = tmp_path / "00000.parquet"
    dataset.write_shard(samples, shard)
    assert [s.source for s in dataset.read_samples(shard)] == [s.source for s in samples]
    assert pq.ParquetFile(shard).num_row_groups == 3
    tracemalloc.start()
    measure_rows(shard, range(36), MEASURE, tmp_path / "piece.arrow")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 * 2**20, "all of them are 148 MiB"
    assert pa.ipc.open_file(tmp_path / "piece.arrow").read_all().num_rows == 36


def test_of_a_large_clip_one_frame_at_a_time_is_copied(tmp_path):
    frames = tuple((bytes([number]) * 2**20, f"a/clip/{number}.png") for number in range(60))
    samples = [Sample("a", "a/clip", frames), Sample("b", "b/0.png", frames[:1], "g", "test")]
    dataset.write_shard(samples, tmp_path / "00000.parquet")
    tracemalloc.start()
    clip, still = dataset.read_samples(tmp_path / "00000.parquet")
    assert (clip.id, clip.size, len(clip.frames)) == (samples[0].id, 60 * 2**20, 60)
    assert all(one == other for one, other in zip(clip.frames, frames, strict=True))
    assert clip.frames[-1] == frames[-1]
    assert still == samples[1]
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()

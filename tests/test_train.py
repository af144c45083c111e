import csv
import dataclasses
import io
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from conftest import ROOT, SHAPES, drawing

from components.shared import files
from components.shared.data import arrays, seen
from components.shared.errors import CannotRun, Refused, Terminated
from components.shared.models import backend, keras_file
from components.shared.models.scores import scores
from components.shared.runs import origin
from components.train.config import TrainConfig

tf, keras = backend.start()

from components.train import budget  # noqa: E402
from components.train.normalization import FusedBatchNormalization  # noqa: E402
from components.train.presets import NETWORKS, network  # noqa: E402
from components.train.remedies import REMEDIES  # noqa: E402

STILL, PHOTO, CLIP = (28, 28, 1), (40, 32, 3), (5, 20, 20, 3)


def write_split(folder: Path, *, each: int, seed: int, side: int = 16) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), each)
    images = arrays.create(folder, len(labels), (side, side, 3))
    for index, label in enumerate(labels):
        images[index] = drawing(SHAPES[label], rng, size=side)
    images.flush()
    arrays.describe(folder, labels, [{"id": str(n), "source": f"{n}.png", "label": SHAPES[y]} for n, y in enumerate(labels)])


def write_layout(work: Path, classes=SHAPES, shape=(16, 16, 3)) -> None:
    """Of prepared, and of its training split, which stands for what augment would have made of it."""
    layout = arrays.Layout(list(classes), shape, "0" * 32 + ".dir", {"prepare": {"height": shape[0]}})
    layout.write(work / "prepared")
    dataclasses.replace(layout, knobs={**layout.knobs, "augment": {"copies": 0}}).write(work / "prepared/train")


@pytest.fixture
def work(here: Path) -> Path:
    """A working folder with prepared and augmented toys in it."""
    for name, each in (("train", 64), ("validation", 16), ("test", 16)):
        write_split(here / "prepared" / name, each=each, seed=len(name))
    write_layout(here)
    return here


def train(work: Path, config: TrainConfig, name: str = "cnn", seed: int = 3) -> Path:
    from components.train.step import train as step

    step(augmented=work / "prepared/train", prepared=work / "prepared", config=config, seed=seed, model=work / "models" / name)
    return work / "models" / name


@pytest.mark.parametrize("shape", [STILL, PHOTO, CLIP])
@pytest.mark.parametrize(("architecture", "preset"), [(a, preset) for a, presets in NETWORKS.items() for preset in presets])
def test_every_network_takes_any_kind_and_size_and_comes_back_from_disk(architecture, preset, shape, tmp_path):
    model = network(architecture, preset, shape, 4, dropout=0.1)
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    probabilities = keras_file.predict(model, images)
    assert probabilities.shape == (3, 4)
    assert probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    digests = keras_file.save(model, tmp_path)
    again = keras_file.load(tmp_path / keras_file.FILE, sha256=digests["sha256"])
    assert np.array_equal(keras_file.predict(again, images), probabilities)


def test_the_articles_networks_are_the_articles():
    from keras import layers

    article = keras.Sequential([
        keras.Input((28, 28, 1)), layers.Conv2D(32, (3, 3), activation="relu"), layers.MaxPooling2D((2, 2)),
        layers.Conv2D(64, (3, 3), activation="relu"), layers.MaxPooling2D((2, 2)), layers.Conv2D(64, (3, 3), activation="relu"),
        layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    rows = keras.Sequential(
        [keras.Input((28, 28)), layers.LSTM(128, activation="tanh"), layers.Dense(10, activation="softmax")]
    )
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1), dtype=np.uint8)
    for ours, theirs, inputs in (
        (network("cnn", "article", STILL, 10, dropout=0.5), article, images / 255),
        (network("lstm", "article", STILL, 10, dropout=0.5), rows, images[..., 0] / 255),
    ):
        assert [weight.shape for weight in ours.weights] == [weight.shape for weight in theirs.weights]
        theirs.set_weights(ours.get_weights())
        np.testing.assert_allclose(ours(images), theirs(inputs.astype("float32")), atol=1e-6)


@pytest.mark.parametrize("architecture", ["cnn", "lstm"])
@pytest.mark.parametrize("preset", ["default", "article", "pretrained"])
def test_padding_of_a_short_clip_changes_nothing(architecture, preset):
    short, long = (network(architecture, preset, (time, *CLIP[1:]), 3, dropout=0.0) for time in (CLIP[0], 9))
    long.set_weights(short.get_weights())
    images = np.random.default_rng(0).integers(1, 256, (2, *CLIP), dtype=np.uint8)
    padded = np.concatenate([images, np.zeros((2, 4, *CLIP[1:]), np.uint8)], axis=1)
    np.testing.assert_allclose(short(images), long(padded), atol=1e-5)


@pytest.mark.parametrize("architecture", ["cnn", "lstm"])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.filterwarnings("error::UserWarning")  # Keras's, of masks that get lost
def test_padding_takes_no_part_in_a_training(architecture, policy):
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(policy)
    try:
        short, long = (
            network(architecture, "default", (time, *CLIP[1:]), 3, dropout=0.0, normalization=FusedBatchNormalization)
            for time in (4, 16)
        )
    finally:
        keras.config.set_dtype_policy("float32")
    long.set_weights(short.get_weights())
    images = np.random.default_rng(0).integers(1, 256, (3, 4, *CLIP[1:]), dtype=np.uint8)
    padded = np.concatenate([images, np.zeros((3, 12, *CLIP[1:]), np.uint8)], axis=1)
    gradients, logits = [], []
    for model, clips in ((short, images), (long, padded)):
        outputs = keras.Model(model.input, model.get_layer("logits").output)
        with tf.GradientTape() as tape:
            logits.append(outputs(tf.constant(clips), training=True))
            loss = tf.reduce_sum(tf.square(logits[-1] - 1))
        gradients.append(tape.gradient(loss, model.trainable_variables))
    exact = policy == "float32"
    np.testing.assert_allclose(*logits, atol=1e-4 if exact else 0.1)
    moving = [[np.array(v) for v in model.non_trainable_variables if "moving" in v.path] for model in (short, long)]
    assert len(moving[0]) > 4
    for one, other in zip(*moving, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3 if exact else 0.05, atol=1e-4 if exact else 0.01)
    if exact:
        for one, other in zip(*gradients, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-3 * max(1.0, float(np.abs(one).max())))


def test_the_normalisation_of_a_part_gives_what_the_fused_one_gives():
    rng = np.random.default_rng(0)
    pictures = tf.constant(rng.normal(3, 2, (12, 5, 7, 8)).astype(np.float32))
    filler = tf.constant(rng.normal(-9, 5, (4, 5, 7, 8)).astype(np.float32))
    fused, masked = (FusedBatchNormalization(momentum=0.9, scale=False) for _ in range(2))
    expected = fused(pictures, training=True)
    outputs = masked(tf.concat([filler, pictures], axis=0), training=True, counted=tf.constant([False] * 4 + [True] * 12))
    np.testing.assert_allclose(outputs[4:], expected, atol=1e-5)
    for one, other in zip(fused.weights, masked.weights, strict=True):
        np.testing.assert_allclose(np.array(one), np.array(other), rtol=1e-5, atol=1e-6)


def test_the_lstm_minds_the_order_of_frames_and_the_cnn_does_not():
    images = np.random.default_rng(0).integers(1, 256, (2, *CLIP), dtype=np.uint8)
    pooled, ordered = (network(name, "default", CLIP, 3, dropout=0.0) for name in ("cnn", "lstm"))
    np.testing.assert_allclose(pooled(images), pooled(images[:, ::-1]), atol=1e-5)
    assert np.abs(ordered(images) - ordered(images[:, ::-1])).max() > 1e-4


@pytest.mark.parametrize("path", ["train.cnn", "train.lstm"])
def test_learns_the_toys_and_leaves_all_that_a_run_needs(work, knobs, path):
    config = knobs(TrainConfig, path, epochs=12, batch_size=16, dropout=0.0)
    model = train(work, config)
    record = files.read_json(model / "run.json")
    assert record["best"]["validation_accuracy"] > 0.8
    with (model / "history.csv").open() as stream:
        history = list(csv.DictReader(stream))
    assert len(history) == 12
    assert (model / "curves.png").stat().st_size > 5000
    assert not list((work / "models").glob(".*checkpoint*"))
    loaded = keras_file.load(model / keras_file.FILE, sha256=record["model"]["sha256"])
    validation = arrays.load(work / "prepared/validation")
    probabilities = keras_file.predict(loaded, validation.images)
    # Architectures are chosen by what ships, not by what training saw: unmirrored, not calibrated, perhaps in bfloat16.
    assert record["validation"] == pytest.approx(scores(validation.labels, probabilities), abs=1e-5)
    assert record["knobs"] == {"prepare": {"height": 16}, "augment": {"copies": 0}, "train": config.model_dump(), "seed": 3}
    assert yaml.safe_load((model / "params.yaml").read_text()) == record["knobs"]
    assert record["run_name"].startswith(f"{config.architecture} · ")  # height=16, ...
    assert {"git_dirty", "processor", "cores"} <= record["tags"].keys()
    assert record["tags"]["recipe"] == origin.recipe(record["knobs"], record["data_digest"])
    assert (record["parameters"], record["training_samples"]) == (loaded.count_params(), 192)
    learnt = seen.read(model / seen.FILE)
    for name in ("train", "validation"):
        assert not seen.unseen(arrays.load(work / "prepared" / name).table(), learnt).any()


def test_an_augmented_of_another_prepared_is_refused(work, knobs):
    layout = arrays.Layout.read(work / "prepared")
    for change, what in (
        ({"data_digest": "1" * 32 + ".dir"}, "other data"),
        ({"classes": ["a", "b", "c"]}, "other classes"),
        ({"shape": (16, 16, 1)}, "other shape"),
        ({"knobs": {"prepare": {"height": 17}}}, "other knobs of prepare"),
    ):
        dataclasses.replace(layout, **change).write(work / "prepared")
        with pytest.raises(CannotRun, match=f"was made from another .*{what}.*dvc repro"):
            train(work, knobs(TrainConfig, "train.cnn", epochs=1))


def test_a_training_whose_weights_are_no_numbers_is_refused_and_leaves_no_model(work, knobs, monkeypatch):
    from components.train.loop import Loop

    run = Loop.run

    def overflowing(loop, on_epoch, told):  # the very last step overflows: no loss is computed after it
        progress = run(loop, on_epoch, told)
        loop.model.get_layer("logits").bias.assign([np.nan, 0, 0])
        return progress

    monkeypatch.setattr(Loop, "run", overflowing)
    with pytest.raises(Refused, match="the trained weights are not finite numbers; a tenth of learning_rate"):
        train(work, knobs(TrainConfig, "train.cnn", epochs=1, batch_size=64))
    assert not (work / "models/cnn").exists()


@pytest.mark.parametrize("changes", [
    {"optimizer": "sgd", "learning_rate": 0.05, "schedule": "cosine"}, {"optimizer": "adam", "schedule": "constant"},
    {"loss": "mean_squared_error", "imbalance": "class_weight"}, {"precision": "bfloat16", "monitor": "loss"},
    {"schedule": "averaged"},
])  # fmt: skip
def test_every_recipe_runs(work, knobs, changes):
    config = knobs(TrainConfig, "train.cnn", epochs=2, batch_size=32, **{"precision": "float32", **changes})
    assert len((train(work, config) / "history.csv").read_text().splitlines()) == 3


def test_an_epoch_is_measured_with_the_mean_of_the_weights_only_once_there_is_one(work, knobs):
    def losses(schedule: str, rate: float) -> list[float]:
        config = knobs(
            TrainConfig, "train.cnn", epochs=4, batch_size=16, precision="float32", schedule=schedule, learning_rate=rate
        )
        return list(pd.read_csv(train(work, config, schedule) / "history.csv")["validation_loss"])

    averaged, own = losses("averaged", 0.004), losses("constant", 0.002)
    assert averaged[0] == own[0]
    assert averaged[-1] != own[-1]


def test_the_same_seed_gives_the_same_weights_and_another_other_ones(work, knobs):
    # Which precision is faster is told by the clock, and may be told otherwise the next time on a busy machine.
    config = knobs(TrainConfig, "train.cnn", epochs=2, batch_size=32, precision="float32")

    def weights(name: str, seed: int) -> str:
        return files.read_json(train(work, config, name, seed) / "run.json")["model"]["weights_sha256"]

    assert weights("a", 3) == weights("b", 3)
    assert weights("c", 4) != weights("a", 3)


def test_ends_early_when_nothing_gets_better(work, knobs):
    config = knobs(TrainConfig, "train.cnn", epochs=40, batch_size=16, patience=2, learning_rate=1e-7, schedule="constant")
    values = pd.read_csv(train(work, config) / "history.csv")["validation_balanced_accuracy"]
    assert len(values) == values.argmax() + 1 + 2 < 40


def test_a_loss_that_is_not_finite_stops_with_the_likely_cause(work, knobs):
    # A learning rate whose first step overflows float32: the weights are then infinite, and the next loss is not a number.
    config = knobs(TrainConfig, "train.cnn", epochs=3, batch_size=16, precision="float32").model_copy(
        update={"optimizer": "sgd", "learning_rate": 1e38, "schedule": "constant", "momentum": 0.0, "weight_decay": 0.0}
    )
    with pytest.raises(
        CannotRun, match=r"the loss is (nan|inf) in epoch 1, batch \d+; learning_rate 1e\+38 is perhaps too high for sgd"
    ):
        train(work, config)
    assert not (work / "models/cnn").exists()


def test_weights_that_overflow_in_the_last_batch_stop_the_training_too(work, knobs):
    config = knobs(TrainConfig, "train.cnn", epochs=1, batch_size=192, precision="float32").model_copy(
        update={"optimizer": "sgd", "learning_rate": np.inf, "schedule": "constant", "momentum": 0.0, "weight_decay": 0.0}
    )
    with pytest.raises(CannotRun, match=r"the loss is (nan|inf) in epoch 1, on validation; learning_rate inf is perhaps too"):
        train(work, config)
    assert not (work / "models/cnn").exists()


def test_pictures_too_small_for_the_articles_network_are_refused(work, knobs):
    with pytest.raises(CannotRun, match="at least 18x18 px, got 16x16"):
        train(work, knobs(TrainConfig, "train.cnn", preset="article"))


def start_training(
    work: Path, *, memory: int = resource.RLIM_INFINITY, command: tuple[str, ...] = ("darkroom", "train"),
    stderr: int = subprocess.STDOUT, **changes,
) -> subprocess.Popen:  # fmt: skip
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["train"]["cnn"] |= changes
    params["seed"] = 3
    (work / "params.yaml").write_text(yaml.safe_dump(params))
    command = [*command, "--augmented", "prepared/train", "--prepared", "prepared", "--config", "train.cnn",
               "--model", "models/cnn"]  # fmt: skip
    return subprocess.Popen(
        command, cwd=work, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (memory, memory)),
    )  # fmt: skip


def wait_for_checkpoint(work: Path, process: subprocess.Popen, count: int = 1) -> None:
    for _ in range(1200):
        steps = [int(file.stem) for file in work.glob("models/.cnn.checkpoint.*/*.npz")]
        if steps and max(steps) >= count:
            return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    raise AssertionError("no checkpoint within a minute")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "schedule"), [(signal.SIGKILL, "one_cycle"), (signal.SIGTERM, "averaged")])
def test_killed_and_called_again_it_ends_with_the_same_weights(work, kind, schedule):
    # Which precision is faster is told by the clock, and may be told otherwise the next time on a busy machine.
    recipe = {"epochs": 30, "batch_size": 16, "dropout": 0.2, "precision": "float32", "schedule": schedule}
    straight = start_training(work, **recipe)
    assert straight.wait(timeout=300) == 0, straight.stdout.read()
    whole = files.read_json(work / "models/cnn/run.json")
    (work / "models/cnn").rename(work / "straight")

    for share in (0.1, 0.5):  # before the first weights of a mean, and within them
        process = start_training(work, **recipe)
        wait_for_checkpoint(work, process, count=int(share * whole["steps"]))
        os.killpg(process.pid, kind)
        code = process.wait(timeout=10)  # an evicted pod has not much longer
        if kind == signal.SIGTERM:
            assert code == 143
            assert "the checkpoint is saved" in process.stdout.read()
        assert not (work / "models/cnn").exists()

    again = start_training(work, **recipe)
    assert again.wait(timeout=300) == 0
    assert "goes on from a checkpoint" in again.stdout.read()
    resumed = files.read_json(work / "models/cnn/run.json")
    assert resumed["model"]["weights_sha256"] == whole["model"]["weights_sha256"]
    assert resumed["best"]["validation_loss"] == whole["best"]["validation_loss"]


@pytest.mark.slow
def test_a_tracking_server_that_is_killed_costs_seconds_and_not_the_training(work, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--workers", "1",
               "--backend-store-uri", f"sqlite:///{work}/runs.db", "--artifacts-destination", f"{work}/artifacts"]  # fmt: skip
    with (work / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=work, stdout=log, stderr=log, start_new_session=True)
    try:
        while True:
            assert server.poll() is None, (work / "server.log").read_text()
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        process = start_training(work, epochs=40, batch_size=16)
        wait_for_checkpoint(work, process, count=24)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert "the training goes on" in told
    assert len((work / "models/cnn/history.csv").read_text().splitlines()) == 1 + 40


@pytest.mark.slow
def test_a_reader_that_has_gone_leaves_no_traceback_and_takes_no_checkpoint_with_it(work):
    recipe = {"epochs": 40, "batch_size": 16}
    process = start_training(work, stderr=subprocess.PIPE, **recipe)
    wait_for_checkpoint(work, process, count=24)
    process.stdout.close()
    assert process.wait(timeout=200) == 128 + signal.SIGPIPE
    assert process.stderr.read() == ""
    told, _ = start_training(work, **recipe).communicate(timeout=300)
    assert "goes on from a checkpoint" in told


def stored(arrays: dict) -> bytes:
    np.savez(buffer := io.BytesIO(), **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage", ["empty", "half", "less a byte", "flipped", "foreign", "no weights", "no progress", "weights not finite"]
)
def test_a_damaged_checkpoint_is_recognised_and_the_one_before_it_taken(tmp_path, capsys, damage):
    from components.train.checkpoint import Checkpoint, Checkpoints

    kept = Checkpoints(tmp_path / "cnn", "abc")
    for step in (1, 2, 3):
        kept.save(Checkpoint({"w": np.full(1000, step, np.float32)}, {"step": step}))
    newest = sorted(kept.folder.glob("*.npz"))[-1]
    content = newest.read_bytes()
    middle = len(content) // 2
    progress = {"progress": np.array('{"step": 3}')}
    newest.write_bytes({
        "empty": b"", "half": content[:middle], "less a byte": content[:-1], "foreign": b"text",
        "flipped": content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :],
        "no weights": stored(progress), "no progress": stored({"w": np.ones(3, np.float32)}),
        "weights not finite": stored({"w": np.array([np.nan], np.float32)} | progress),
    }[damage])  # fmt: skip
    found = kept.last({"w"})
    assert found.progress["step"] == 2
    assert (found.arrays["w"] == 2).all()
    assert f"{newest.name}: damaged" in capsys.readouterr().out


def test_a_checkpoint_of_another_configuration_is_never_taken(tmp_path):
    from components.train.checkpoint import Checkpoint, Checkpoints

    Checkpoints(tmp_path / "cnn", "a" * 64).save(Checkpoint({}, {"step": 1}))
    assert Checkpoints(tmp_path / "cnn", "b" * 64).last(set()) is None
    assert len(list(tmp_path.glob(".cnn.checkpoint.*"))) == 0


def test_another_pod_finds_the_newest_checkpoint_in_the_store_and_what_the_training_began_with(tmp_path, monkeypatch, capsys):
    from components.shared.store import open_store
    from components.train.checkpoint import Checkpoint, Checkpoints

    def pod(name: str, identity: str = "abc") -> tuple[Checkpoints, dict]:
        kept = Checkpoints(tmp_path / name / "cnn", identity)
        begun = {word: kept.once(word, lambda: name.replace(" ", "")) for word in ("training_id", "precision", "samples")}
        return kept, begun

    monkeypatch.setenv("DARKROOM_STORE", (tmp_path / "store").as_uri())
    first, begun = pod("pod 1")
    for step in (1, 2, 3):
        first.save(Checkpoint({"w": np.full(1000, step, np.float32)}, {"step": step}))
        first.wait()
    prefix, names = "checkpoints/abc/", ["0000000002.npz", "0000000003.npz", "begun.json"]
    assert open_store().names("checkpoints") == [prefix + name for name in names]
    second, again = pod("pod 2")
    assert again == begun == {"training_id": "pod1", "precision": "pod1", "samples": "pod1"}
    assert second.last({"w"}).progress["step"] == 3
    other, own = pod("pod 3", identity="xyz")
    assert (other.last({"w"}), own["training_id"]) == (None, "pod3")
    (tmp_path / "cut").write_bytes(b"PK")
    open_store().put(f"{prefix}{names[1]}", tmp_path / "cut")
    open_store().put(f"{prefix}begun.json", tmp_path / "cut")
    third, anew = pod("pod 4")
    assert (third.last({"w"}).progress["step"], anew["training_id"]) == (2, "pod4")
    assert capsys.readouterr().out.count("damaged (") == 1
    third.clear()
    assert [name for name in open_store().names("checkpoints") if "abc" in name] == []
    monkeypatch.setenv("DARKROOM_STORE", "nothing://here")
    away, own = pod("pod 5")
    away.save(Checkpoint({"w": np.ones(3, np.float32)}, {"step": 1}))
    away.wait()
    assert away.last({"w"}).progress["step"] == 1
    away.clear()
    assert capsys.readouterr().out.count("its checkpoints lie on this machine alone") == 1


def test_a_training_with_other_knobs_knows_in_whose_place_it_stands(tmp_path):
    from components.train.checkpoint import Checkpoints

    Checkpoints(tmp_path / "cnn", "a" * 64).once("training_id", lambda: "t1")
    assert Checkpoints(tmp_path / "cnn", "a" * 64).given_up == []
    assert Checkpoints(tmp_path / "cnn", "b" * 64).given_up == ["t1"]
    assert Checkpoints(tmp_path / "cnn", "b" * 64).given_up == []


def test_weights_that_are_no_numbers_are_not_loaded(tmp_path):
    model = network("cnn", "article", STILL, 3, dropout=0.0)
    model.get_layer("logits").bias.assign([0, np.inf, 0])
    digests = keras_file.save(model, tmp_path)
    with pytest.raises(Refused, match=r"model\.keras: holds weights that are no finite numbers"):
        keras_file.load(tmp_path / keras_file.FILE, sha256=digests["sha256"])


def test_a_model_that_is_not_the_one_trained_is_not_loaded(tmp_path):
    digests = keras_file.save(network("cnn", "article", STILL, 3, dropout=0.0), tmp_path)
    file = tmp_path / keras_file.FILE
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(Refused, match="is not the model that was trained"):
        keras_file.load(file, sha256=digests["sha256"])
    with pytest.raises(CannotRun, match="no such file"):
        keras_file.load(tmp_path / "other.keras", sha256="")


@pytest.mark.parametrize("layer", ["lambda", "tfsm"])
def test_a_model_file_that_would_run_code_is_refused(tmp_path, layer):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs))
    model.save(tmp_path / keras_file.FILE)
    if layer == "tfsm":
        rewrite_config(tmp_path / keras_file.FILE, b'"Lambda"', b'"TFSMLayer"')
    with pytest.raises(Refused, match="no network of Darkroom has"):
        keras_file.load(tmp_path / keras_file.FILE, sha256=files.digest(tmp_path / keras_file.FILE))


def test_a_model_file_with_a_class_of_another_module_is_refused(tmp_path):
    keras_file.save(network("cnn", "article", STILL, 3, dropout=0.0), tmp_path)
    rewrite_config(tmp_path / keras_file.FILE, b'"module": "keras.layers"', b'"module": "os.path"')
    with pytest.raises(Refused, match="no network of Darkroom has"):
        keras_file.load(tmp_path / keras_file.FILE, sha256=files.digest(tmp_path / keras_file.FILE))


def test_layers_that_open_files_are_refused(tmp_path):
    inputs = keras.Input((1,), dtype="string")
    keras.Model(inputs, keras.layers.TextVectorization(vocabulary=["a"])(inputs)).save(tmp_path / keras_file.FILE)
    with pytest.raises(Refused, match=r"keras\.layers\.TextVectorization"):
        keras_file.refuse_foreign(tmp_path / keras_file.FILE)


def rewrite_config(file: Path, old: bytes, new: bytes) -> None:
    import zipfile

    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(old, new)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_the_test_split_is_not_read_in_training(work, knobs):
    for file in (work / "prepared/test").iterdir():
        file.unlink()
    train(work, knobs(TrainConfig, "train.cnn", epochs=1, batch_size=64))


def test_a_budget_of_time_sets_the_length_and_the_schedule_ends_with_it(work, knobs, capsys):
    config = knobs(TrainConfig, "train.cnn", epochs=1000, batch_size=16, budget_minutes=0.05, precision="float32")
    record = files.read_json(train(work, config) / "run.json")
    assert "epochs fit into 0.05 minutes" in capsys.readouterr().out
    assert 1 < record["training_seconds"] < 30
    with (work / "models/cnn/history.csv").open() as stream:
        history = list(csv.DictReader(stream))
    assert float(history[-1]["learning_rate"]) < 0.1 * config.learning_rate


def test_the_rest_of_a_budget_is_laid_out_by_the_speed_so_far():
    epoch = {"batch": 0.125, "validation": 1.0, "batches": 80}  # 11 seconds
    assert budget.steps(22, **epoch) == 160  # two epochs with two validations
    assert budget.steps(6, **epoch) == 40  # a part of one has its validation, too
    assert budget.steps(11, **epoch, done=80) == 160
    assert budget.steps(6, **epoch, done=40) == 80  # what is left of this epoch, and its validation
    assert budget.steps(12, **epoch, done=40) == 120
    assert budget.steps(-3, **epoch, done=40) == 41  # late already


@pytest.mark.slow
def test_told_to_stop_after_the_very_last_batch_loses_nothing(work):
    changes = {"epochs": 2, "batch_size": 32, "precision": "float32"}  # by the clock the second might have another
    assert start_training(work, **changes).wait(timeout=300) == 0
    whole = files.read_json(work / "models/cnn/run.json")
    shutil.rmtree(work / "models")
    script = (
        "import os, signal, sys, time; from components.train import recipe; rate = recipe.rate\n"
        "def last(config, step, steps):\n"
        "    if step == steps - 1: os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.1)\n"
        "    return rate(config, step, steps)\n"
        "recipe.rate = last; from components.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    stopped = start_training(work, command=(sys.executable, "-c", script, "train"), **changes)
    told, _ = stopped.communicate(timeout=300)
    assert (stopped.returncode, "the checkpoint is saved" in told) == (143, True), told
    assert start_training(work, **changes).wait(timeout=300) == 0
    again = files.read_json(work / "models/cnn/run.json")
    assert again["model"]["weights_sha256"] == whole["model"]["weights_sha256"]
    assert again["best"]["validation_loss"] == whole["best"]["validation_loss"]


@pytest.mark.parametrize("faster", ["bfloat16", "float32"])
def test_it_is_computed_in_what_is_faster_here(work, knobs, monkeypatch, faster):
    monkeypatch.setattr("components.train.precision.choose", lambda *_: faster)
    record = files.read_json(train(work, knobs(TrainConfig, "train.cnn", epochs=1, batch_size=64)) / "run.json")
    assert record["tags"]["precision"] == faster


def test_the_precision_is_decided_once_for_a_training(work, knobs, monkeypatch):
    config = knobs(TrainConfig, "train.cnn", epochs=4, batch_size=32)

    def interrupted(*_):
        raise Terminated("train: told to stop")

    answers = iter(["bfloat16", "float32"])
    monkeypatch.setattr("components.train.precision.choose", lambda *_: next(answers))
    with monkeypatch.context() as patch:
        patch.setattr("components.train.loop.budget.is_open", interrupted)  # after some batches
        patch.setattr("components.train.loop.budget.PROBE", 7)
        with pytest.raises(Terminated):
            train(work, config)
    record = files.read_json(train(work, config) / "run.json")
    assert record["tags"]["precision"] == "bfloat16"
    again = files.read_json(train(work, config, name="another") / "run.json")
    assert again["tags"]["precision"] == "float32"


def test_a_checkpoint_is_not_continued_by_other_arithmetic(work, knobs, monkeypatch):
    config = knobs(TrainConfig, "train.cnn", epochs=2, batch_size=32, precision="float32")

    def interrupted(*_):
        raise Terminated("train: told to stop")

    with monkeypatch.context() as patch:
        patch.setattr("components.train.loop.budget.is_open", interrupted)
        patch.setattr("components.train.loop.budget.PROBE", 7)
        with pytest.raises(Terminated):
            train(work, config)
    (begun,) = work.glob("models/.cnn.checkpoint.*/begun.json")
    first = files.read_json(begun)["training_id"]
    other = not backend.has_onednn()
    monkeypatch.setattr(backend, "has_onednn", lambda: other)
    record = files.read_json(train(work, config) / "run.json")
    assert record["training_id"] != first
    assert record["tags"]["onednn"] == ("on" if backend.has_onednn() else "off")


@pytest.mark.slow
def test_a_killed_training_goes_on_in_its_precision_whatever_the_timing_says_by_then(work):
    def command(faster: str) -> list[str]:
        script = (f"import sys; from components.train import precision; precision.choose = lambda *_: {faster!r}\n"
                  "from components.__main__ import main; sys.exit(main(sys.argv[1:]))")  # fmt: skip
        return [sys.executable, "-c", script, "train"]

    recipe = {"epochs": 20, "batch_size": 16, "precision": "auto"}
    process = start_training(work, command=command("bfloat16"), **recipe)
    wait_for_checkpoint(work, process, count=24)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    again = start_training(work, command=command("float32"), **recipe)
    told, _ = again.communicate(timeout=300)
    assert again.returncode == 0, told
    assert "goes on from a checkpoint" in told
    assert files.read_json(work / "models/cnn/run.json")["tags"]["precision"] == "bfloat16"


@pytest.mark.parametrize("shape", [(16, 16, 3), (4, 16, 16, 3)])
def test_a_healthy_training_and_its_predictions_say_nothing_but_their_own_lines(work, shape):
    if len(shape) == 4:  # clips of three frames and one of padding
        for name in ("train", "validation", "test"):
            split = arrays.load(work / "prepared" / name)
            stills, samples = np.array(split.images), split.samples()
            clips = arrays.create(work / "prepared" / name, len(split), shape)
            clips[:, :3] = stills[:, None]
            clips.flush()
            arrays.describe(work / "prepared" / name, split.labels, samples)
        write_layout(work, shape=shape)
    process = start_training(work, epochs=1, batch_size=50, mirror=True)
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    script = (
        "from pathlib import Path; import numpy as np; from components.shared import files\n"
        "from components.shared.models import keras_file\n"
        "record = files.read_json(Path('models/cnn/run.json'))\n"
        "model = keras_file.load(Path('models/cnn/model.keras'), sha256=record['model']['sha256'])\n"
        f"for count in (1, 5, 300, 7, 2, 9, 513): keras_file.predict(model, np.ones((count, *{shape}), np.uint8))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=work, capture_output=True, text=True, timeout=300, check=True)
    own = ("train", "epoch ", "tracking")
    told = [line for line in re.split("[\r\n]", told + done.stdout + done.stderr) if line.strip() and "%|" not in line]
    assert [line for line in told if not line.startswith(own)] == []


def test_a_mirror_image_is_said_to_be_the_same_where_that_is_better_on_validation_data(work, knobs):
    folder = train(work, knobs(TrainConfig, "train.cnn", epochs=1, batch_size=32, mirror=True))
    record = files.read_json(folder / "run.json")
    model = keras_file.load(folder / keras_file.FILE, sha256=record["model"]["sha256"])
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    assert record["mirrored"]
    np.testing.assert_allclose(keras_file.predict(model, images), keras_file.predict(model, images[:, :, ::-1]), atol=1e-5)


def test_things_whose_sides_matter_are_left_as_they_are(work, knobs):
    for name in ("train", "validation"):
        split = arrays.load(work / "prepared" / name)
        for image, label in zip(images := np.array(split.images), split.labels, strict=True):
            image[:, 8 * (label == 1) : 8 + 8 * (label == 1)] = 0  # what is left of it is on the right, or on the left
        rewritten = arrays.create(work / "prepared" / name, len(images), images.shape[1:])
        rewritten[:] = images
        rewritten.flush()
        arrays.describe(work / "prepared" / name, (split.labels == 1).astype(np.int64), split.samples())
    write_layout(work, ["right", "left"])
    record = files.read_json(train(work, knobs(TrainConfig, "train.cnn", epochs=4, batch_size=16)) / "run.json")
    assert not record["mirrored"]
    assert record["best"]["validation_accuracy"] > 0.9


@pytest.mark.parametrize("remedy", REMEDIES)
def test_every_remedy_for_imbalance_learns_and_is_saved_as_it_was_validated(work, knobs, remedy):
    split = arrays.load(work / "prepared/train")
    kept = np.flatnonzero((split.labels != 1) | (np.arange(len(split)) % 4 == 0))  # a quarter of one class
    pixels, labels, samples = np.array(split.images)[kept], split.labels[kept], [split.samples()[n] for n in kept]
    images = arrays.create(work / "prepared/train", len(kept), (16, 16, 3))
    images[:] = pixels
    images.flush()
    arrays.describe(work / "prepared/train", labels, samples)
    folder = train(work, knobs(TrainConfig, "train.cnn", epochs=6, batch_size=16, imbalance=remedy, mirror=False))
    record = files.read_json(folder / "run.json")
    assert record["best"]["validation_accuracy"] > 0.7
    validation = arrays.load(work / "prepared/validation")
    model = keras_file.load(folder / keras_file.FILE, sha256=record["model"]["sha256"])
    said = keras_file.predict(model, validation.images).argmax(axis=1)
    assert (said == validation.labels).mean() == pytest.approx(record["best"]["validation_accuracy"], abs=0.03)


@pytest.mark.slow
def test_memory_that_runs_out_names_the_knob(work):
    for name in ("train", "validation"):
        images = arrays.create(work / "prepared" / name, 4096, (64, 64, 3))
        images.flush()
        samples = [{"id": str(n), "source": f"{n}.png", "label": SHAPES[n % 3]} for n in range(4096)]
        arrays.describe(work / "prepared" / name, np.arange(4096) % 3, samples)
    write_layout(work, shape=(64, 64, 3))
    process = start_training(work, memory=2 * 2**30, batch_size=4096, epochs=1)
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 2, told
    assert re.search(
        r"train: (out of memory with|ended by the system \(SIG\w+\), as happens when memory).*; lower batch_size", told
    )
    assert not (work / "models/cnn").exists()


@pytest.mark.slow
def test_what_the_kernel_kills_is_told_by_the_process_that_is_left(work):
    process = start_training(work, epochs=40, batch_size=16)
    wait_for_checkpoint(work, process, count=24)
    (child,) = psutil.Process(process.pid).children()
    child.kill()  # as the kernel does with what takes most memory
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "train: ended by the system (SIGKILL), as happens when memory runs out; lower batch_size" in told


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_goes_on_when_the_command_alone_is_ended(work, kind):
    process = start_training(work, epochs=40, batch_size=16)
    wait_for_checkpoint(work, process, count=24)
    (child,) = psutil.Process(process.pid).children()
    process.send_signal(kind)
    assert process.wait(timeout=10) == (143 if kind == signal.SIGTERM else -signal.SIGKILL)
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()


def test_memory_that_runs_out_on_a_graphics_card_names_the_knob(work, knobs, monkeypatch):
    from components.train.loop import Loop

    def exhausted(*_):  # what TensorFlow raises there
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(Loop, "_epoch", exhausted)
    with pytest.raises(CannotRun, match="out of memory with batches of 128; lower batch_size"):
        train(work, knobs(TrainConfig, "train.cnn"))


def test_the_record_has_the_knobs_of_the_whole_pipeline_run_but_no_training_depends_on_them(monkeypatch):
    from components.train.step import _data_knobs

    monkeypatch.delenv("DARKROOM_PIPELINE_RUN", raising=False)
    assert _data_knobs() == {}
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", "a name of my own")
    assert _data_knobs() == {}
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", '{"seed":7,"measure":{"faces":false},"validate":{"near_bits":6},"train":{}}')
    assert _data_knobs() == {"measure": {"faces": False}, "validate": {"near_bits": 6}}

"""What a training computes in, and by which library: decided by the processor and a trial, never by a guess."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

from components.shared.models import backend
from components.train.config import TrainConfig
from components.train.precision import choose, trial

_, keras = backend.start()

from components.train.presets import network  # noqa: E402


def test_keras_is_loaded_without_what_we_never_use_of_it_which_can_be_loaded_later():
    script = ("import sys; from components.shared.models import backend; backend.start()\n"
              "import components.shared.models.scores\n"
              "assert not {'sklearn', 'scipy.stats', 'matplotlib.pyplot'} & set(sys.modules)\n"
              "import matplotlib.pyplot, sklearn.metrics")  # fmt: skip
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("wanted", [None, "0", "1"])
def test_onednn_is_switched_on_where_it_helps_unless_the_user_says_otherwise(wanted):
    script = ("import os; from components.shared.models import backend; backend.start()\n"
              "print(os.environ.get(backend.ONEDNN), backend.has_onednn(), {'avx2', 'fma'} <= backend._instructions())")  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != backend.ONEDNN}
    environment |= {backend.ONEDNN: wanted} if wanted else {}
    said = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    switch, there, able = said.stdout.split()
    assert switch == wanted or (switch == "1" and able == "True")
    assert there == str(switch == "1")


def test_a_processor_without_instructions_for_bfloat16_is_never_asked_to_compute_in_it(knobs, monkeypatch, capsys):
    monkeypatch.setattr(backend, "_instructions", lambda: frozenset({"avx2", "fma", "avx512f", "avx512_vnni"}))
    assert choose(knobs(TrainConfig, "train.cnn", precision="auto"), build=None) == "float32"
    assert "precision float32 (no instructions for bfloat16 here)" in capsys.readouterr().out


@pytest.mark.parametrize("shape", [(28, 28, 1), (4, 20, 20, 3)])
def test_the_costliest_convolution_that_learns_is_tried_out_in_both(shape):
    seconds = trial(network("cnn", "default", shape, 10, dropout=0.0), batch_size=4)
    assert seconds.keys() == {"float32", "bfloat16"}
    assert all(0 < one < 5 for one in seconds.values())


def test_a_network_without_convolutions_is_trained_in_float32(knobs, monkeypatch, capsys):
    monkeypatch.setattr(backend, "has_bfloat16", lambda: True)
    config = knobs(TrainConfig, "train.lstm", precision="auto", preset="article")
    assert choose(config, lambda: network("lstm", "article", (28, 28, 1), 10, dropout=0.0)) == "float32"
    assert "no convolution learns" in capsys.readouterr().out


@pytest.mark.parametrize(("float32", "bfloat16", "chosen"), [(0.083, 0.041, "bfloat16"), (0.041, 0.083, "float32"),
                                                             (0.050, 0.041, "float32")])  # fmt: skip
def test_what_was_found_is_said_and_what_is_hardly_faster_is_left(knobs, monkeypatch, capsys, float32, bfloat16, chosen):
    monkeypatch.setattr(backend, "has_bfloat16", lambda: True)
    monkeypatch.setattr("components.train.precision.trial", lambda *_: {"float32": float32, "bfloat16": bfloat16})
    assert choose(knobs(TrainConfig, "train.cnn", precision="auto"), lambda: None) == chosen
    said = capsys.readouterr().out
    assert f"train: precision {chosen} (a training step of the costliest convolution takes" in said
    assert "41 ms" in said


def test_a_trial_leaves_the_names_of_layers_as_they_are(knobs, monkeypatch):
    monkeypatch.setattr(backend, "has_bfloat16", lambda: True)
    keras.backend.clear_session()
    names = [layer.name for layer in network("cnn", "default", (28, 28, 1), 10, dropout=0.0).layers]
    keras.backend.clear_session()
    choose(
        knobs(TrainConfig, "train.cnn", precision="auto", batch_size=2),
        lambda: network("cnn", "default", (28, 28, 1), 10, dropout=0.0),
    )
    assert [layer.name for layer in network("cnn", "default", (28, 28, 1), 10, dropout=0.0).layers] == names


def test_where_onednn_may_not_use_the_instructions_it_is_float32():
    script = (
        "from pathlib import Path; from components.shared import config; from components.train.config import TrainConfig\n"
        "from components.shared.models import backend; backend.start(); backend.has_bfloat16 = lambda: True\n"
        "from components.train.presets import network; from components.train.precision import choose\n"
        "knobs = config.read_params(Path('params.yaml'))['train']['cnn'] | {'precision': 'auto', 'batch_size': 4}\n"
        "print(choose(TrainConfig(**knobs), lambda: network('cnn', 'default', (28, 28, 1), 10, dropout=0.0)))"
    )
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split()[-1:] == ["float32"], done.stderr

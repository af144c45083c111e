from pathlib import Path

import pytest
import yaml

from components.shared import config
from components.shared.errors import CannotRun
from components.train.config import TrainConfig

PARAMS = yaml.safe_load((Path(__file__).parent.parent / "params.yaml").read_text())


def refusal(**changes) -> str:
    with pytest.raises(CannotRun) as caught:
        config.parse(TrainConfig, {**PARAMS["train"]["cnn"], **changes}, path="train.cnn")
    return str(caught.value)


def test_says_what_was_expected_and_what_came():
    assert refusal(epochs=0) == "train.cnn.epochs: expected an integer of at least 1, got 0"
    assert refusal(epochs=-3) == "train.cnn.epochs: expected an integer of at least 1, got -3"
    assert "train.cnn.optimizer: expected 'muon', 'adamw', 'adam' or 'sgd', got 'lion'" in refusal(optimizer="lion")


def test_refuses_an_unknown_knob_and_names_the_known_ones():
    assert refusal(epoch=3).startswith(
        "train.cnn.epoch: unknown knob; did you mean epochs? train.cnn has: architecture, preset, backbone, epochs"
    )


def test_tells_all_faults_of_a_section_together():
    assert len(refusal(epochs=0, batch_size=0, dropout=1.5).splitlines()) == 3


def test_does_not_take_a_float_or_true_for_a_whole_number():
    assert refusal(epochs=3.0) == "train.cnn.epochs: expected a valid integer, got 3.0"
    assert refusal(epochs=True) == "train.cnn.epochs: expected a valid integer, got True"
    assert refusal(dropout=True) == "train.cnn.dropout: expected a valid number, got True"
    assert "train.cnn.mirror" in refusal(mirror="yes")


def test_refuses_a_preset_of_the_other_architecture():
    assert (
        refusal(preset="article-gru") == "train.cnn.preset: cnn has default, best, article, pretrained, auto, got 'article-gru'"
    )


def test_refuses_nan():
    assert "learning_rate" in refusal(learning_rate=float("nan"))


def test_a_missing_section_names_what_there_is():
    with pytest.raises(CannotRun, match=r"no section train\.gru; train holds: cnn, lstm"):
        config.section_of(PARAMS, "train.gru", file=Path("params.yaml"))


def test_a_broken_file_is_named_with_its_line(tmp_path):
    broken = tmp_path / "params.yaml"
    broken.write_text("seed: 7\ntrain: [\n")
    with pytest.raises(CannotRun, match=r"params\.yaml line 3: not valid YAML"):
        config.read_params(broken)
    broken.write_text("!!python/object/apply:os.system ['true']\n")
    with pytest.raises(CannotRun, match="not valid YAML"):
        config.read_params(broken)
    with pytest.raises(CannotRun, match="no such file"):
        config.read_params(tmp_path / "other.yaml")


def test_every_section_of_params_yaml_has_a_model_that_takes_it():
    from components.augment.config import AugmentConfig
    from components.embed.config import EmbedConfig
    from components.evaluate.config import EvaluateConfig
    from components.measure.config import MeasureConfig
    from components.package.config import PackageConfig
    from components.prepare.config import PrepareConfig
    from components.register.config import RegisterConfig
    from components.stress.config import StressConfig
    from components.validate.config import ValidateConfig

    models = {
        "measure": MeasureConfig,
        "embed": EmbedConfig,
        "validate": ValidateConfig,
        "prepare": PrepareConfig,
        "augment": AugmentConfig,
        "train.cnn": TrainConfig,
    }
    models |= {"train.lstm": TrainConfig, "package": PackageConfig, "evaluate": EvaluateConfig, "register": RegisterConfig}
    models |= {"stress": StressConfig}
    assert {path.split(".")[0] for path in models} | {"seed"} == set(PARAMS)
    for path, model in models.items():
        section = config.section_of(PARAMS, path, file=Path("params.yaml"))
        assert config.parse(model, section, path=path).model_dump() == section

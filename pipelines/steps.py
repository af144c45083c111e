"""A thin component per step: one call of the step function, in our image, with nothing installed at run time.

Kubeflow ships the source of each function alone, so what a body needs is imported inside it.
"""

import functools

from kfp import dsl
from kfp.dsl import ClassificationMetrics, Dataset, Input, Metrics, Model, Output

# The pipeline's parameter `image` takes its place when a task is made.
component = functools.partial(dsl.component, base_image="darkroom", install_kfp_package=False)


@component
def measure(data: Input[Dataset], manifest: Output[Dataset]):
    from components.__main__ import call

    call("measure", data=data.path, manifest=manifest.path)


@component
def validate(manifest: Input[Dataset], config: dict, validation: Output[Dataset]):
    from components.__main__ import call

    call("validate", section="validate", manifest=manifest.path, config=config, validation=validation.path)


@component
def prepare(
    data: Input[Dataset],
    manifest: Input[Dataset],
    validation: Input[Dataset],
    config: dict,
    seed: int,
    prepared: Output[Dataset],
):
    from components.__main__ import call

    verdict = f"{validation.path}/summary.json"
    call("prepare", section="prepare", data=data.path, manifest=manifest.path, verdict=verdict, config=config, seed=seed,
         prepared=prepared.path)  # fmt: skip


@component
def augment(prepared: Input[Dataset], config: dict, seed: int, augmented: Output[Dataset]):
    from components.__main__ import call

    call("augment", section="augment", prepared=prepared.path, config=config, seed=seed, augmented=augmented.path)


@component
def train(augmented: Input[Dataset], prepared: Input[Dataset], section: str, config: dict, seed: int, model: Output[Model]):
    from components.__main__ import call

    call("train", section=section, augmented=augmented.path, prepared=prepared.path, config=config, seed=seed,
         model=model.path)  # fmt: skip


@component
def evaluate(
    model: Input[Model],
    prepared: Input[Dataset],
    config: dict,
    evaluation: Output[Dataset],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
):
    from components.__main__ import call
    from pipelines.shown import show

    call("evaluate", section="evaluate", model=model.path, prepared=prepared.path, config=config, evaluation=evaluation.path)
    show(evaluation.path, metrics=metrics, confusion=confusion)


@component
def register(
    cnn: Input[Model],
    lstm: Input[Model],
    cnn_evaluation: Input[Dataset],
    lstm_evaluation: Input[Dataset],
    prepared: Input[Dataset],
    config: dict,
    registration: Output[Dataset],
):
    from components.__main__ import call

    call("register", section="register", models=[cnn.path, lstm.path], config=config, prepared=prepared.path,
         evaluations=[cnn_evaluation.path, lstm_evaluation.path], registration=registration.path)  # fmt: skip

"""A thin component per step: one call of the step function, in our image, with nothing installed at run time.

Kubeflow ships the source of each function alone, so what a body needs is imported inside it; the source stands many times in the
workflow, so it is short. `config` is a section of params.yaml as JSON. `code` is the code's version: it makes Kubeflow's cache
keys differ when the code does. Artifacts are named so that each name stands once in the UI; what a step says of its end is
`Output`, as KFP calls a return value, and knows it in a condition.
"""

import functools
from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Input, Markdown, Metrics, Model, Output

# The pipeline's parameter `image` takes its place when a task is made.
component = functools.partial(dsl.component, base_image="darkroom", install_kfp_package=False)


@component
def newest(address: str, code: str, seed: int, measure: str, validate: str, prepare: str, augment: str, train_cnn: str,
           train_lstm: str, evaluate: str, register: str) -> NamedTuple(
    "Newest", [("digest", str), ("code", str), ("key", str), ("Output", str)]
):  # fmt: skip
    from pipelines.newest import newest

    return newest(address, code, (seed, measure, validate, prepare, augment, train_cnn, train_lstm, evaluate, register))


@component
def measure(data: str, digest: str, config: str, code: str, manifest: Output[Dataset]):
    from pipelines.execution import call

    call("measure", data=data, digest=digest, config=config, code=code, manifest=manifest)


@component
def validate(manifest: Input[Dataset], config: str, code: str, validation: Output[Dataset], report: Output[HTML],
             findings: Output[Markdown]) -> str:  # fmt: skip
    from pipelines.execution import call

    return call("validate", manifest=manifest, config=config, code=code, validation=validation,
                shown=[report, findings])  # fmt: skip


@component
def gate(verdict: str) -> str:
    from pipelines.execution import gate

    return gate(verdict, step="validate")


@component
def prepare(verdict: str, data: str, digest: str, manifest: Input[Dataset], validation: Input[Dataset], config: str, code: str,
            prepared: Output[Dataset]):  # fmt: skip
    from pipelines.execution import call

    call("prepare", data=data, digest=digest, manifest=manifest, verdict=f"{validation.path}/summary.json",
         pairs=f"{validation.path}/pairs.parquet", config=config, code=code, prepared=prepared)  # fmt: skip


@component
def augment(prepared: Input[Dataset], config: str, seed: int, code: str, augmented: Output[Dataset]):
    from pipelines.execution import call

    call("augment", prepared=prepared, config=config, seed=seed, code=code, augmented=augmented)


@component
def train_cnn(augmented: Input[Dataset], prepared: Input[Dataset], config: str, seed: int, code: str, model_cnn: Output[Model]):
    from pipelines.execution import call

    call("train cnn", augmented=augmented, prepared=prepared, config=config, seed=seed, code=code, model=model_cnn)


@component
def train_lstm(
    augmented: Input[Dataset], prepared: Input[Dataset], config: str, seed: int, code: str, model_lstm: Output[Model]
):
    from pipelines.execution import call

    call("train lstm", augmented=augmented, prepared=prepared, config=config, seed=seed, code=code, model=model_lstm)


@component
def evaluate_cnn(model: Input[Model], prepared: Input[Dataset], config: str, code: str, evaluation_cnn: Output[Dataset],
                 metrics_cnn: Output[Metrics], curves_cnn: Output[ClassificationMetrics], report_cnn: Output[HTML]):  # fmt: skip
    from pipelines.execution import call

    call("evaluate cnn", model=model, prepared=prepared, config=config, code=code, evaluation=evaluation_cnn,
         shown=[metrics_cnn, curves_cnn, report_cnn])  # fmt: skip


@component
def evaluate_lstm(model: Input[Model], prepared: Input[Dataset], config: str, code: str, evaluation_lstm: Output[Dataset],
                  metrics_lstm: Output[Metrics], curves_lstm: Output[ClassificationMetrics], report_lstm: Output[HTML]):  # fmt: skip
    from pipelines.execution import call

    call("evaluate lstm", model=model, prepared=prepared, config=config, code=code, evaluation=evaluation_lstm,
         shown=[metrics_lstm, curves_lstm, report_lstm])  # fmt: skip


@component
def register(cnn: Input[Model], lstm: Input[Model], cnn_evaluation: Input[Dataset], lstm_evaluation: Input[Dataset],
             prepared: Input[Dataset], config: str, code: str, last: str, registration: Output[Dataset],
             verdict: Output[Markdown]) -> str:  # fmt: skip
    from pipelines.execution import call

    return call("register", models=[cnn, lstm], evaluations=[cnn_evaluation, lstm_evaluation], prepared=prepared, config=config,
                code=code, last=last, registration=registration, shown=[verdict])  # fmt: skip


@component
def report(status: dsl.PipelineTaskFinalStatus, run: str, name: str, workflow: str):
    from pipelines.notify import report

    report(state=status.state, run=run, name=name, workflow=workflow)

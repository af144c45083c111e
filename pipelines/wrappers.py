"""A thin component per step: one call of the step function. Each runs from this file in the image, by KFP's own executor.

What Kubeflow holds of a step stands many times in its workflow, so it is short: the interface and a command, and no source. `config`
is a section of params.yaml as JSON. `code` is the code's version: it makes Kubeflow's cache keys differ when the code does.
Artifacts are named so that each name stands once in the UI; what a step says of its end is `Output`, as KFP calls a return value.
"""

import json
import sys
from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Input, Markdown, Metrics, Model, Output

from pipelines import execution
from pipelines.execution import call


def component(function):
    """What `dsl.component` makes for an image that holds the function; which image, a task is told when it is made."""
    made = dsl.component(function, base_image="darkroom", target_image="darkroom")
    made.component_spec.implementation.container.command = ["python3", "-m", "pipelines.wrappers"]
    return made


@component
def newest(address: str, code: str, seed: int, measure: str, embed: str, validate: str, prepare: str, augment: str,
           train_cnn: str, train_lstm: str, package: str, evaluate: str, stress: str, register: str,
           answers: str) -> NamedTuple(
    "Newest", [("digest", str), ("code", str), ("key", str), ("Output", str)]
):  # fmt: skip
    from pipelines.newest import newest

    knobs = (seed, measure, embed, validate, prepare, augment, train_cnn, train_lstm, package, evaluate, stress, register)
    return newest(address, code, knobs, answers, f"models:/{execution.knobs(register, 'register')['model']}@champion")


@component
def measure(data: str, digest: str, config: str, code: str, manifest: Output[Dataset]):
    call("measure", data=data, digest=digest, config=config, code=code, manifest=manifest)


@component
def embed(data: str, digest: str, manifest: Input[Dataset], config: str, code: str, embeddings: Output[Dataset]):
    call("embed", data=data, digest=digest, manifest=manifest, config=config, code=code, embeddings=embeddings)


@component
def validate(manifest: Input[Dataset], embeddings: Input[Dataset], config: str, code: str, validation: Output[Dataset],
             report: Output[HTML], findings: Output[Markdown]) -> str:  # fmt: skip
    return call("validate", manifest=manifest, embeddings=embeddings, config=config, code=code, validation=validation,
                shown=[report, findings])  # fmt: skip


@component
def gate(verdict: str) -> str:
    return execution.gate(verdict, step="validate")


@component
def prepare(verdict: str, data: str, digest: str, manifest: Input[Dataset], validation: Input[Dataset], config: str, code: str,
            prepared: Output[Dataset]):  # fmt: skip
    call("prepare", data=data, digest=digest, manifest=manifest, verdict=f"{validation.path}/summary.json",
         pairs=f"{validation.path}/pairs.parquet", config=config, code=code, prepared=prepared)  # fmt: skip


@component
def augment(prepared: Input[Dataset], config: str, seed: int, code: str, augmented: Output[Dataset]):
    call("augment", prepared=prepared, config=config, seed=seed, code=code, augmented=augmented)


@component
def train_cnn(augmented: Input[Dataset], prepared: Input[Dataset], config: str, seed: int, code: str, model_cnn: Output[Model]):
    call("train cnn", augmented=augmented, prepared=prepared, config=config, seed=seed, code=code, model=model_cnn)


@component
def train_lstm(
    augmented: Input[Dataset], prepared: Input[Dataset], config: str, seed: int, code: str, model_lstm: Output[Model]
):
    call("train lstm", augmented=augmented, prepared=prepared, config=config, seed=seed, code=code, model=model_lstm)


@component
def package_cnn(model: Input[Model], prepared: Input[Dataset], config: str, code: str, package_cnn: Output[Model]):
    call("package cnn", model=model, prepared=prepared, config=config, code=code, package=package_cnn)


@component
def package_lstm(model: Input[Model], prepared: Input[Dataset], config: str, code: str, package_lstm: Output[Model]):
    call("package lstm", model=model, prepared=prepared, config=config, code=code, package=package_lstm)


@component
def evaluate_cnn(model: Input[Model], package: Input[Model], prepared: Input[Dataset], config: str, code: str,
                 evaluation_cnn: Output[Dataset], metrics_cnn: Output[Metrics], curves_cnn: Output[ClassificationMetrics],
                 report_cnn: Output[HTML]):  # fmt: skip
    call("evaluate cnn", model=model, package=package, prepared=prepared, config=config, code=code,
         evaluation=evaluation_cnn, shown=[metrics_cnn, curves_cnn, report_cnn])  # fmt: skip


@component
def evaluate_lstm(model: Input[Model], package: Input[Model], prepared: Input[Dataset], config: str, code: str,
                  evaluation_lstm: Output[Dataset], metrics_lstm: Output[Metrics], curves_lstm: Output[ClassificationMetrics],
                  report_lstm: Output[HTML]):  # fmt: skip
    call("evaluate lstm", model=model, package=package, prepared=prepared, config=config, code=code,
         evaluation=evaluation_lstm, shown=[metrics_lstm, curves_lstm, report_lstm])  # fmt: skip


@component
def stress(cnn_package: Input[Model], lstm_package: Input[Model], prepared: Input[Dataset], config: str, code: str,
           stress: Output[Dataset], damages: Output[HTML]):  # fmt: skip
    call("stress", packages=[cnn_package, lstm_package], prepared=prepared, config=config, code=code, stress=stress,
         shown=[damages])  # fmt: skip


@component
def register(cnn: Input[Model], lstm: Input[Model], cnn_package: Input[Model], lstm_package: Input[Model],
             cnn_evaluation: Input[Dataset], lstm_evaluation: Input[Dataset], prepared: Input[Dataset], stress: Input[Dataset],
             validation: Input[Dataset], config: str, code: str, last: str, registration: Output[Dataset],
             verdict: Output[Markdown], page: Output[HTML]) -> str:  # fmt: skip
    return call("register", models=[cnn, lstm], packages=[cnn_package, lstm_package],
                evaluations=[cnn_evaluation, lstm_evaluation], prepared=prepared, stress=stress, validation=validation,
                config=config, code=code, last=last, report=f"{page.path}.folder", registration=registration,
                shown=[verdict, page])  # fmt: skip


@component
def predict(data: str, digest: str, model: str, output: str, code: str, answers: Output[Dataset]):
    call("predict", data=data, digest=digest, config=execution.chosen(model), output=output, code=code, answers=answers)


@component
def report(status: dsl.PipelineTaskFinalStatus, run: str, name: str, workflow: str):
    from pipelines.notify import report

    report(state=status.state, run=run, name=name, workflow=workflow)


if __name__ == "__main__":
    from kfp.dsl.executor import Executor

    # KFP's own main would put this folder before all others in sys.path, where `kubeflow` and `version` are names of packages, too.
    _, given, _, name = sys.argv[1:]
    Executor(executor_input=json.loads(given), function_to_execute=globals()[name]).execute()

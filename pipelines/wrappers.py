"""A thin component per step: one call of the step function, in our image, with nothing installed at run time.

Kubeflow ships the source of each function alone, so what a body needs is imported inside it. `code` is the code's version:
no body reads it, but it makes Kubeflow's cache keys differ when the code does.
"""

import functools

from kfp import dsl
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Input, Markdown, Metrics, Model, Output

# The pipeline's parameter `image` takes its place when a task is made.
component = functools.partial(dsl.component, base_image="darkroom", install_kfp_package=False)


@component
def measure_part(data: str, digest: str, part: str, config: dict, code: str, manifest: Output[Dataset]):
    from components.shared.data.remote import fetched
    from pipelines.execution import call, ending

    with ending("measure"), fetched(data, digest, part=part) as shards:
        call("measure_part", section="measure", data=shards, config=config, manifest=manifest)


@component
def gather_manifest(parts: Input[list[Dataset]], digest: str, code: str, manifest: Output[Dataset]):
    from pipelines.execution import call

    call("gather_manifest", parts=parts, digest=digest, manifest=manifest)


@component
def validate(manifest: Input[Dataset], config: dict, code: str, validation: Output[Dataset], report: Output[HTML],
             findings: Output[Markdown]):  # fmt: skip
    from pipelines.artifacts import show_validation
    from pipelines.execution import call, ending

    with ending("validate"), show_validation(validation, report=report, findings=findings):
        call("validate", section="validate", manifest=manifest, config=config, validation=validation)


@component
def plan_arrays(manifest: Input[Dataset], validation: Input[Dataset], config: dict, code: str, planned: Output[Dataset]):
    from pipelines.execution import call

    call("plan_arrays", section="prepare", manifest=manifest, verdict=f"{validation.path}/summary.json",
         pairs=f"{validation.path}/pairs.parquet", config=config, planned=planned)  # fmt: skip


@component
def prepare_part(
    data: str, digest: str, part: str, planned: Input[Dataset], config: dict, code: str, prepared: Output[Dataset]
):
    from components.shared.data.remote import fetched
    from pipelines.execution import call, ending

    with ending("prepare"), fetched(data, digest, part=part) as shards:
        call("prepare_part", section="prepare", data=shards, planned=planned, config=config, prepared=prepared)


@component
def gather_arrays(parts: Input[list[Dataset]], planned: Input[Dataset], code: str, prepared: Output[Dataset]):
    from pipelines.execution import call

    call("gather_arrays", section="prepare", parts=parts, planned=planned, prepared=prepared)


@component
def augment(prepared: Input[Dataset], config: dict, seed: int, code: str, augmented: Output[Dataset]):
    from pipelines.execution import call

    call("augment", section="augment", prepared=prepared, config=config, seed=seed, augmented=augmented)


@component
def train(augmented: Input[Dataset], prepared: Input[Dataset], section: str, config: dict, seed: int, code: str,
          model: Output[Model]):  # fmt: skip
    from pipelines.execution import call

    call("train", section=section, augmented=augmented, prepared=prepared, config=config, seed=seed, model=model)


@component
def evaluate(model: Input[Model], prepared: Input[Dataset], config: dict, code: str, evaluation: Output[Dataset],
             metrics: Output[Metrics], curves: Output[ClassificationMetrics], report: Output[HTML]):  # fmt: skip
    from pipelines.artifacts import show_evaluation
    from pipelines.execution import call, ending

    call("evaluate", section="evaluate", model=model, prepared=prepared, config=config, evaluation=evaluation)
    with ending("evaluate"):
        show_evaluation(evaluation, metrics=metrics, curves=curves, report=report)


@component
def register(cnn: Input[Model], lstm: Input[Model], cnn_evaluation: Input[Dataset], lstm_evaluation: Input[Dataset],
             prepared: Input[Dataset], config: dict, code: str, registration: Output[Dataset], verdict: Output[Markdown]):  # fmt: skip
    from pipelines.artifacts import show_registration
    from pipelines.execution import call, ending

    call("register", section="register", models=[cnn, lstm], evaluations=[cnn_evaluation, lstm_evaluation], prepared=prepared,
         config=config, registration=registration)  # fmt: skip
    with ending("register"):
        show_registration(registration, verdict=verdict)


@component
def report(status: dsl.PipelineTaskFinalStatus):
    from pipelines.notify import report

    report(state=status.state, run=status.pipeline_job_resource_name, message=status.error_message)

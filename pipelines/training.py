"""The graph: the same steps and edges as dvc.yaml, held together by the contract test."""

from kfp import dsl

from pipelines import wrappers
from pipelines.settings import Settings

ARCHITECTURES = ("cnn", "lstm")


def training_pipeline(params: dict, *, image: str, code: str, parts: int, settings: Settings | None = None):
    """From shards to a registered model. Returns the pipeline; `params` (params.yaml) gives the defaults of its parameters.

    1. measure: every frame decoded once, some shards a task; gathered into the manifest
    2. validate: findings; an error ends the run here
    3. prepare: planned (the split), decoded and resized, some shards a task; gathered into arrays
    4. augment: rebalance and vary the training split
    5. train: a CNN and an LSTM, side by side
    6. evaluate: each on the test split
    7. register: the better one becomes champion
    8. report: however the run ends

    `data` is a DVC remote (or a folder of shards) and `digest` what data.dvc records: data comes by reference.
    Without `settings` the tasks have no resources, retries or secrets, as a run on this machine needs.
    """
    default_image, default_code = image, code
    numbered = [f"{number}/{parts}" for number in range(1, parts + 1)]

    @dsl.pipeline(name="darkroom", description=__doc__)
    def darkroom(
        data: str,
        digest: str,
        seed: int = params["seed"],
        measure: dict = params["measure"],
        validate: dict = params["validate"],
        prepare: dict = params["prepare"],
        augment: dict = params["augment"],
        train_cnn: dict = params["train"]["cnn"],
        train_lstm: dict = params["train"]["lstm"],
        evaluate: dict = params["evaluate"],
        register: dict = params["register"],
        image: str = default_image,
        code: str = default_code,
    ):
        def add(task: dsl.PipelineTask, name: str) -> dict:
            task.set_container_image(image).set_display_name(name)
            if settings:
                settings.apply(task, name.split()[0])
            return task.outputs

        report = wrappers.report()
        add(report, "report")
        # Report and register are never cached: they depend on how the run ended, and on what the tracking server holds.
        report.set_caching_options(False)
        if settings and settings.webhook:
            report.set_env_variable("DARKROOM_WEBHOOK", settings.webhook)
        with dsl.ExitHandler(report, name="training"):
            with dsl.ParallelFor(numbered, name="measure parts") as part:
                task = wrappers.measure_part(data=data, digest=digest, part=part, config=measure, code=code)
                measured = add(task, "measure part")["manifest"]
            task = wrappers.gather_manifest(parts=dsl.Collected(measured), digest=digest, code=code)
            manifest = add(task, "measure")["manifest"]
            validation = add(wrappers.validate(manifest=manifest, config=validate, code=code), "validate")["validation"]
            task = wrappers.plan_arrays(manifest=manifest, validation=validation, config=prepare, code=code)
            planned = add(task, "prepare plan")["planned"]
            with dsl.ParallelFor(numbered, name="prepare parts") as part:
                task = wrappers.prepare_part(data=data, digest=digest, part=part, planned=planned, config=prepare, code=code)
                decoded = add(task, "prepare part")["prepared"]
            task = wrappers.gather_arrays(parts=dsl.Collected(decoded), planned=planned, code=code)
            prepared = add(task, "prepare")["prepared"]
            task = wrappers.augment(prepared=prepared, config=augment, seed=seed, code=code)
            augmented = add(task, "augment")["augmented"]
            models, evaluations = {}, {}
            for name, knobs in zip(ARCHITECTURES, (train_cnn, train_lstm), strict=True):
                task = wrappers.train(
                    augmented=augmented, prepared=prepared, section=f"train.{name}", config=knobs, seed=seed, code=code
                )
                models[name] = add(task, f"train {name}")["model"]
                task = wrappers.evaluate(model=models[name], prepared=prepared, config=evaluate, code=code)
                evaluations[f"{name}_evaluation"] = add(task, f"evaluate {name}")["evaluation"]
            last = wrappers.register(**models, **evaluations, prepared=prepared, config=register, code=code)
            add(last, "register")
            last.set_caching_options(False)

    return darkroom

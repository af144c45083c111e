"""The graph: the same steps and edges as dvc.yaml, held together by the contract test."""

from kfp import dsl

from pipelines import steps

ARCHITECTURES = ("cnn", "lstm")


def training_pipeline(params: dict, *, image: str):
    """From shards to a registered model. Returns the pipeline; `params` (params.yaml) gives the defaults of its parameters.

    1. measure: every frame decoded once, the manifest
    2. validate: findings; an error ends the run here
    3. prepare: split, decode, resize
    4. augment: rebalance and vary the training split
    5. train: a CNN and an LSTM, side by side
    6. evaluate: each on the test split
    7. register: the better one becomes champion
    """
    default_image = image

    @dsl.pipeline(name="darkroom", description=__doc__)
    def darkroom(
        data: str,
        seed: int = params["seed"],
        validate: dict = params["validate"],
        prepare: dict = params["prepare"],
        augment: dict = params["augment"],
        train_cnn: dict = params["train"]["cnn"],
        train_lstm: dict = params["train"]["lstm"],
        evaluate: dict = params["evaluate"],
        register: dict = params["register"],
        image: str = default_image,
    ):
        def shown(task: dsl.PipelineTask, name: str) -> dict:
            task.set_container_image(image).set_display_name(name)
            return task.outputs

        shards = dsl.importer(artifact_uri=data, artifact_class=dsl.Dataset, reimport=False).output
        manifest = shown(steps.measure(data=shards), "measure")["manifest"]
        validation = shown(steps.validate(manifest=manifest, config=validate), "validate")["validation"]
        prepared = shown(
            steps.prepare(data=shards, manifest=manifest, validation=validation, config=prepare, seed=seed), "prepare"
        )["prepared"]
        augmented = shown(steps.augment(prepared=prepared, config=augment, seed=seed), "augment")["augmented"]
        models, evaluations = {}, {}
        for name, knobs in zip(ARCHITECTURES, (train_cnn, train_lstm), strict=True):
            task = steps.train(augmented=augmented, prepared=prepared, section=f"train.{name}", config=knobs, seed=seed)
            models[name] = shown(task, f"train {name}")["model"]
            task = steps.evaluate(model=models[name], prepared=prepared, config=evaluate)
            evaluations[name] = shown(task, f"evaluate {name}")["evaluation"]
        shown(
            steps.register(
                **models,
                **{f"{name}_evaluation": evaluations[name] for name in ARCHITECTURES},
                prepared=prepared,
                config=register,
            ),
            "register",
        )

    return darkroom

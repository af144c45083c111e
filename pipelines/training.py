"""The graph: the same steps and edges as dvc.yaml, held together by the contract test."""

from kfp import dsl

from pipelines import graph, wrappers
from pipelines.settings import Settings

ARCHITECTURES = ("cnn", "lstm")


def training_pipeline(
    params: dict,
    *,
    image: str,
    code: str,
    data: str = "",
    digest: str = "",
    settings: Settings | None = None,
    newest: bool = False,
    answers: str = "",
):
    """From shards to a registered model. Returns the pipeline; `params` (params.yaml) gives the defaults of its parameters.

    1. measure: every frame decoded once, into the manifest
    2. embed: a vector per sample, where a knob names a network
    3. validate: findings, and a verdict; behind it a gate ends the run where the data is refused
    4. prepare: split, decoded and resized into arrays
    5. augment: rebalance and vary the training split
    6. train: a CNN and an LSTM, side by side
    7. package: each as ONNX, with all that predicting and serving need
    8. evaluate: each on the test split
    9. stress: both on damaged test samples
    10. register: the better one becomes champion
    11. report: however the run ends

    `data` is a DVC remote (or a folder of shards) and `digest` what data.dvc records: data comes by reference.
    With `newest`, for schedules, `digest` is the address of a data.dvc, which is read when a run starts: where a run of that data by
    this code has ended well before, there is nothing to do, and the run ends at once. So it does, with `answers`, the address of
    answers of the champion, where these do not drift from what it has learnt.
    Without `settings` the tasks have no resources, retries or secrets, as a run on this machine needs.
    """
    default_code, default_data, default_digest = code, data, digest
    given = graph.parameters(params)

    @dsl.pipeline(name="darkroom", description="Labelled pictures in, a recogniser that can be trusted out.")
    def darkroom(
        data: str = default_data,
        digest: str = default_digest,
        seed: int = given["seed"],
        measure: str = given["measure"],
        embed: str = given["embed"],
        validate: str = given["validate"],
        prepare: str = given["prepare"],
        augment: str = given["augment"],
        train_cnn: str = given["train_cnn"],
        train_lstm: str = given["train_lstm"],
        package: str = given["package"],
        evaluate: str = given["evaluate"],
        stress: str = given["stress"],
        register: str = given["register"],
        code: str = default_code,
    ):
        """Labelled pictures in, a recogniser that can be trusted out.

        Args:
            data: The DVC remote that holds the data, such as s3://bucket/path.
            digest: Which data, as data.dvc records it; of a schedule that follows new data, the address of a data.dvc.
            seed: One number behind augmentation, weights and order.
            measure: Knobs of measure, as JSON; params.yaml explains each.
            embed: Knobs of embed, as JSON.
            validate: Knobs of validate, as JSON.
            prepare: Knobs of prepare, as JSON.
            augment: Knobs of augment, as JSON.
            train_cnn: Knobs of the CNN's training, as JSON.
            train_lstm: Knobs of the LSTM's training, as JSON.
            package: Knobs of package, as JSON.
            evaluate: Knobs of evaluate, as JSON.
            stress: Knobs of stress, as JSON.
            register: Knobs of register, as JSON.
            code: The version of the code; each step refuses an image that holds another.
        """

        def add(task: dsl.PipelineTask, name: str) -> dict:
            task.set_container_image(image).set_display_name(name)
            if settings:
                settings.apply(task, name.split()[0], image)
            return task.outputs

        report = wrappers.report(
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER, name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            workflow=dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER,
        )  # fmt: skip
        add(report, "report")
        # Report and register are never cached: they depend on how the run ended, and on what the tracking server holds.
        report.set_caching_options(False)
        if settings and settings.webhook:
            report.set_env_variable("DARKROOM_WEBHOOK", settings.webhook)

        def steps(digest, code, last) -> None:
            manifest = add(wrappers.measure(data=data, digest=digest, config=measure, code=code), "measure")["manifest"]
            task = wrappers.embed(data=data, digest=digest, manifest=manifest, config=embed, code=code)
            vectors = add(task, "embed")["embeddings"]
            judged = add(wrappers.validate(manifest=manifest, embeddings=vectors, config=validate, code=code), "validate")
            # A step of its own and without retries: on some installations Kubernetes would try what refuses again and again.
            verdict = add(wrappers.gate(verdict=judged["Output"]), "gate")["Output"]
            task = wrappers.prepare(
                verdict=verdict, data=data, digest=digest, manifest=manifest, validation=judged["validation"], config=prepare,
                code=code,
            )  # fmt: skip
            prepared = add(task, "prepare")["prepared"]
            task = wrappers.augment(prepared=prepared, config=augment, seed=seed, code=code)
            augmented = add(task, "augment")["augmented"]
            made = {}
            for name, knobs in zip(ARCHITECTURES, (train_cnn, train_lstm), strict=True):
                train, pack, score = (getattr(wrappers, f"{step}_{name}") for step in ("train", "package", "evaluate"))
                task = train(augmented=augmented, prepared=prepared, config=knobs, seed=seed, code=code)
                made[name] = add(task, f"train {name}")[f"model_{name}"]
                task = pack(model=made[name], prepared=prepared, config=package, code=code)
                made[f"{name}_package"] = add(task, f"package {name}")[f"package_{name}"]
                packed = made[f"{name}_package"]
                task = score(model=made[name], package=packed, prepared=prepared, config=evaluate, code=code)
                made[f"{name}_evaluation"] = add(task, f"evaluate {name}")[f"evaluation_{name}"]
            both = {name: given for name, given in made.items() if name.endswith("_package")}
            damaged = add(wrappers.stress(**both, prepared=prepared, config=stress, code=code), "stress")["stress"]
            task = wrappers.register(
                **made, prepared=prepared, stress=damaged, validation=judged["validation"], config=register, code=code, last=last,
            )  # fmt: skip
            add(task, "register")
            task.set_caching_options(False)

        with dsl.ExitHandler(report, name="all steps"):
            if not newest:
                steps(digest, code, "")
                return
            task = wrappers.newest(
                address=digest, code=code, seed=seed, measure=measure, embed=embed, validate=validate, prepare=prepare,
                augment=augment, train_cnn=train_cnn, train_lstm=train_lstm, package=package, evaluate=evaluate,
                stress=stress, register=register, answers=answers,
            )  # fmt: skip
            found = add(task, "newest")
            task.set_caching_options(False)
            with dsl.If(found["Output"] == "new", name="new data"):
                steps(found["digest"], found["code"], found["key"])

    return darkroom

"""`python -m pipelines predict`: every sample of a data set answered by a registered model, a step of Kubeflow's, its parts a Job."""

import argparse

from kfp import dsl

from components.shared.errors import CannotRun
from pipelines import graph, pinning, settings, submit, wrappers
from pipelines.settings import Settings

MODEL = "models:/darkroom@champion"


def predict(options: argparse.Namespace) -> int:
    """Write the pipeline with `--compile`, else start a run of it; with `--wait` the exit code says how it ended."""
    model, output = options.model, options.output
    checks = [
        (":/" in model, f"--model {model}: expected models:/NAME@ALIAS, models:/NAME/3, runs:/ID, or an address such as s3://…"),
        (not output or ("://" in output and not output.endswith((".csv", ".jsonl"))),
         f"--output {output}: expected an address such as s3://bucket/answers, of a folder or of a .parquet"),
    ]  # fmt: skip
    if faults := [text for well, text in checks if not well]:
        raise CannotRun(*faults)
    how, given = settings.read(options.settings), {"model": model, "output": output}
    if options.compile:
        data, digest = graph.default_data()
        given |= {"data": options.data or data, "digest": options.digest or digest}
        graph.write(predicting_pipeline(how, **given), options.compile)
        print(f"{options.compile}: upload it in Kubeflow's UI; without --compile it is submitted")
        return 0
    given["data"], given["digest"] = submit.data_of(options)
    pipeline = predicting_pipeline(how)  # a version is the commit's; what is answered by which model is the run's
    return submit.start(submit.as_run(pipeline, how, given, options), pipeline, how, options)


def predicting_pipeline(how: Settings | None = None, *, data: str = "", digest: str = "", model: str = MODEL, output: str = ""):
    """The pipeline, with these defaults of its parameters; without settings as a run on this machine needs it."""
    code, image = graph.code_digest(), pinning.pinned(graph.image()) if how else graph.image()

    @dsl.pipeline(name="darkroom-predict", description="Every sample of a data set, answered by a registered model.")
    def darkroom_predict(data: str = data, digest: str = digest, model: str = model, output: str = output, code: str = code):
        """Every sample of a data set, answered by a registered model.

        Args:
            data: The DVC remote that holds the data, such as s3://bucket/path.
            digest: Which data, as data.dvc records it.
            model: Which model, such as models:/darkroom@champion; an alias is resolved when the step starts.
            output: Where the file of answers is put, too, such as s3://bucket/answers; empty for the artifact alone.
            code: The version of the code; the step refuses an image that holds another.
        """
        task = wrappers.predict(data=data, digest=digest, model=model, output=output, code=code)
        task.set_container_image(image).set_display_name("predict")
        if how:
            how.apply(task, "predict", image)
        task.set_caching_options(False)  # what an alias names changes, and so may what lies at the output

    return darkroom_predict

"""Darkroom's steps, in the order in which pictures pass through them.

Each step is one plain function, paths and a typed configuration in, files out, in `components/<step>/step.py`.
What two steps or more use stands in `components/shared`. Nothing here knows of DVC or Kubeflow: they call the steps.
"""

from typing import NamedTuple


class Command(NamedTuple):
    """One row of the table of contents: where a command's function stands, what it does, and what it needs to run.

    `example`: what people type behind its name, of a step that DVC runs what dvc.yaml has. `workers`: spreads its work over
    processes, which are started while the command itself still loads. `parts`: its module has `parts`, what it computes of each
    shard alone, which a cluster spreads over pods. `supervised`: runs in a child process, because it may die of a lack of memory,
    or of a damaged file; the text is what to do against the first. `sections`: the sections of params.yaml that it takes, where
    that is not the one of its name.
    """

    module: str
    help: str
    example: str = ""
    workers: bool = False
    parts: bool = False
    supervised: str = ""
    sections: tuple[str, ...] = ()


# The table of contents, and all that `darkroom --help` has to load.
STEPS = {
    "ingest": Command(
        "components.ingest.step", "Read pictures and labels from any source into data/ (Parquet shards)",
        "~/pictures data --replace",
        supervised="free some memory, or give it more",
    ),
    "measure": Command(
        "components.measure.step", "Decode every frame once and write the manifest, a row per sample",
        "--data data --config measure --manifest outputs/manifest", workers=True, parts=True
    ),
    "embed": Command(
        "components.embed.step", "A vector per sample, to search by and for a map; off by default",
        "--data data --manifest outputs/manifest --config embed --embeddings outputs/embeddings", parts=True,
        supervised="lower embed.side, or free some memory",
    ),
    "validate": Command(
        "components.validate.step", "Judge the manifest: findings, a report; stops the run on an error",
        "--manifest outputs/manifest --embeddings outputs/embeddings --config validate --validation outputs/validation"),
    "prepare": Command(
        "components.prepare.step", "Split by group and label, decode, resize: uint8 arrays",
        "--data data --manifest outputs/manifest --verdict outputs/validation/summary.json --pairs "
        "outputs/validation/pairs.parquet --config prepare --prepared outputs/prepared", workers=True, parts=True),
    "augment": Command(
        "components.augment.step", "Rebalance and augment the training split",
        "--prepared outputs/prepared --config augment --augmented outputs/augmented"),
    "train": Command(
        "components.train.step", "Fit one architecture, a CNN or an LSTM; track the run in MLflow",
        "--augmented outputs/augmented --prepared outputs/prepared --config train.cnn --backbones backbones --model "
        "outputs/models/cnn",
        supervised="lower batch_size, or prepare.height and width", sections=("train.cnn", "train.lstm"),
    ),
    "package": Command(
        "components.package.step", "Export the model as ONNX, hold it against Keras, fit how sure an answer has to be",
        "--model outputs/models/cnn --prepared outputs/prepared --config package --package outputs/packages/cnn"),
    "evaluate": Command(
        "components.evaluate.step", "Score the model on the test split: metrics, plots, worst mistakes",
        "--model outputs/models/cnn --package outputs/packages/cnn --prepared outputs/prepared --config evaluate "
        "--evaluation outputs/evaluation/cnn"),
    "stress": Command(
        "components.stress.step", "Damage the test samples and ask the packaged models about them",
        "--packages outputs/packages/cnn outputs/packages/lstm --prepared outputs/prepared --config stress --stress "
        "outputs/stress", workers=True),
    "register": Command(
        "components.register.step", "Register what passes the gates; the better one becomes champion",
        "--models outputs/models/cnn outputs/models/lstm --packages outputs/packages/cnn outputs/packages/lstm "
        "--evaluations outputs/evaluation/cnn outputs/evaluation/lstm --prepared outputs/prepared --stress "
        "outputs/stress --validation outputs/validation --config register --registration outputs/registration.json "
        "--report outputs/report"),
}  # fmt: skip
# What a graph of `pipelines` holds: the steps, and answering a whole data set.
IN_GRAPHS = STEPS | {
    "predict": Command("components.predict.of_shards", "Answer every sample of a data set by a registered model", parts=True)
}
# What people type beside the steps.
TOOLS = {
    "export": Command(
        "components.ingest.export", "Write the pictures of data/ back as the tree they came from",
        "data ~/pictures-again"),
    "checks": Command("components.validate.checks", "List what validate looks for: code, severity, meaning, example"),
    "predict": Command(
        "components.predict.step", "Answer pictures by a model: a file of answers, a row each",
        "models:/darkroom@champion ~/new-pictures --output answers.parquet", workers=True),
    "fix": Command(
        "components.fix.step", "Apply chosen fixes of validate's findings as a new data version",
        "data outputs/validation --apply W_DUPLICATE"),
    "knobs": Command("components.__main__", "Check all of params.yaml, before a step has run", "params.yaml"),
    "backbone": Command(
        "components.train.backbone", "Take a network of your own, FILE.keras, for the preset pretrained",
        "~/mobilenet.keras", supervised="free some memory, or take a smaller network"),
    "digest": Command("components.shared.data.dataset", "Print the digest of a folder of shards, as data.dvc records it", "data"),
    "similar": Command(
        "components.embed.similar", "Find the samples that look most like a picture, by what embed wrote",
        "photo.jpg -k 9 --sheet near.png"),
    "fetch": Command(
        "components.serve.fetch", "Bring a model's package into a folder, its digest checked",
        "models:/darkroom@champion package"),
    "serve": Command(
        "components.serve.step", "Answer over HTTP: pictures, KServe's v2 protocol, MLflow's; a page to try it",
        "models:/darkroom@champion --port 8080"),
    "watch": Command(
        "components.watch.step", "Tell from answers whether the world has moved: exit code 1 for drift",
        "answers.parquet --model models:/darkroom@champion"),
    "history": Command("components.register.history", "Show who was champion when, why, and from which data and code", "--json"),
    "rollback": Command(
        "components.register.rollback", "Make the former champion champion again",
        '--reason "wrong labels in batch 7"'),
    "compare": Command(
        "components.compare.step", "Show recipes side by side: mean and spread of their seeds' metrics",
        "--picture seeds.png"),
    "ui": Command(
        "components.compare.ui", "Serve MLflow's UI of this project's runs, and print where to look",
        "--port 5001"),
    "reproduce": Command(
        "components.reproduce.step", "Run a training of MLflow again, in a clean place, and compare",
        "5f0c1d2e9a7b4c3d8e6f0a1b2c3d4e5f"),
    "summary": Command(
        "components.register.summary", "Show CNN against LSTM, the verdict, and what to type next",
        "outputs/registration.json --explain"),
}  # fmt: skip

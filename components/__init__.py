"""Darkroom's steps, in the order in which pictures pass through them.

Each step is one plain function, paths and a typed configuration in, files out, in `components/<step>/step.py`.
What two steps or more use stands in `components/shared`. Nothing here knows of DVC or Kubeflow: they call the steps.
"""

# The table of contents, and all that `darkroom --help` has to load. Command: (module, what it does).
STEPS = {
    "ingest": ("components.ingest.step", "Read pictures and labels from any source into data/ (Parquet shards)"),
    "measure": ("components.measure.step", "Decode every frame once and write the manifest, a row per sample"),
    "validate": ("components.validate.step", "Judge the manifest: findings, a report; stops the run on an error"),
    "prepare": ("components.prepare.step", "Split by group and label, decode, resize: uint8 arrays"),
    "augment": ("components.augment.step", "Rebalance and augment the training split"),
    "train": ("components.train.step", "Fit one architecture, a CNN or an LSTM; track the run in MLflow"),
    "evaluate": ("components.evaluate.step", "Score the model on the test split: metrics, plots, worst mistakes"),
    "register": ("components.register.step", "Register what passes the gates; the better one becomes champion"),
}
# What people type beside the steps.
TOOLS = {
    "export": ("components.ingest.export", "Write the pictures of data/ back as the tree they came from"),
    "checks": ("components.validate.checks", "List what validate looks for: code, severity, meaning, example"),
    "fix": ("components.validate.fix", "Apply chosen fixes of validate's findings as a new data version"),
    "knobs": ("components.__main__", "Check all of params.yaml, before a step has run"),
    "digest": ("components.shared.dataset", "Print the digest of a folder of shards, as data.dvc records it"),
    "summary": ("components.register.summary", "Show CNN against LSTM, the verdict, and what to type next"),
}
# What a cluster calls in place of a step whose work grows with the data: some shards a task, then all put together.
FAN_OUT = {
    "measure_part": ("components.measure.fan_out", "Measure some of the shards"),
    "gather_manifest": ("components.measure.fan_out", "Put the parts of the manifest together"),
    "prepare_part": ("components.prepare.fan_out", "Decode some of the shards"),
    "gather_arrays": ("components.prepare.fan_out", "Put the decoded pixels in their places"),
}

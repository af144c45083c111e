"""What each part of the default recipe buys: one knob changed at a time, on validation data of Fashion-MNIST.

    python benchmarks/ablation.py [--epochs 1] [--seeds 1 2] [--only cnn lstm] [--variants NAME ...] [--keep FOLDER]

Everything else stays as params.yaml has it, so a variant may take longer or shorter: its time is told beside its accuracy. The
test split is not looked at.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import yaml
from train import darkroom, prepare

from components.shared import config

VARIANTS = {
    "as params.yaml has it": {},
    "AdamW instead of Muon": {"optimizer": "adamw"},
    "no label smoothing": {"label_smoothing": 0.0},
    "cosine instead of one cycle": {"schedule": "cosine"},
    "batches of 64": {"batch_size": 64},
    "batches of 256": {"batch_size": 256},
    "batches of 512": {"batch_size": 512},
    "learning rate 0.004": {"learning_rate": 0.004},
    "learning rate 0.004, batches of 64": {"learning_rate": 0.004, "batch_size": 64},
    "learning rate 0.004, batches of 256": {"learning_rate": 0.004, "batch_size": 256},
    "float32": {"precision": "float32"},
    "no mirrored copies (and none in prediction)": {"mirror": False, "flip": False},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=["cnn", "lstm"], default=["cnn"])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="NAME", help="; ".join(VARIANTS))
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(exist_ok=True)
        if not (folder / "augmented").exists():
            prepare(folder)
        params = config.read_params(folder / "params.yaml")
        params["augment"]["flip"] = False
        (folder / "still.yaml").write_text(yaml.safe_dump(params))
        darkroom("augment", "--prepared", "prepared", "--config", "augment", "--params", "still.yaml", "--augmented", "still",
                 cwd=folder)  # fmt: skip
        print("| network | variant | validation accuracy | spread | seconds |\n|---|---|---|---|---|")
        for name in options.only:
            for told in options.variants:
                changes = VARIANTS[told]
                knobs = {key: value for key, value in changes.items() if key != "flip"}
                changed = config.read_params(folder / "params.yaml")
                changed["train"][name] |= {"epochs": options.epochs, **knobs}
                found = []
                for seed in options.seeds:
                    (folder / "variant.yaml").write_text(yaml.safe_dump(changed | {"seed": seed}))
                    augmented = "augmented" if changes.get("flip", True) else "still"
                    darkroom("train", "--augmented", augmented, "--prepared", "prepared", "--config", f"train.{name}", "--params",
                             "variant.yaml", "--model", "variant", cwd=folder)  # fmt: skip
                    record = json.loads((folder / "variant/run.json").read_text())
                    found.append((record["validation"]["accuracy"], record["training_seconds"]))
                accuracy, seconds = np.array(found).T
                print(
                    f"| {name} | {told} | {accuracy.mean():.2%} | {np.ptp(accuracy):.2%} | {seconds.mean():.0f} |", flush=True
                )


if __name__ == "__main__":
    main()

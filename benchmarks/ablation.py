"""What each part of the default recipe buys: one knob changed at a time, on validation data of Fashion-MNIST.

    python benchmarks/ablation.py [--epochs 1] [--seeds 1 2] [--only cnn lstm] [--variants NAME ...]

Everything else stays as params.yaml has it, so a variant may take longer or shorter: its time is told beside its accuracy. The
test split is not looked at.
"""

import measuring
import numpy as np

from components.shared import scratch

VARIANTS = {
    "as params.yaml has it": {},
    "AdamW instead of Muon": {"optimizer": "adamw"},
    "no label smoothing": {"label_smoothing": 0.0},
    "cosine instead of one cycle": {"schedule": "cosine"},
    "batches of 64": {"batch_size": 64},
    "batches of 256": {"batch_size": 256},
    "batches of 512": {"batch_size": 512},
    "learning rate 0.004": {"learning_rate": 0.004},
    "learning rate 0.008": {"learning_rate": 0.008},
    "learning rate 0.004, batches of 64": {"learning_rate": 0.004, "batch_size": 64},
    "learning rate 0.004, batches of 256": {"learning_rate": 0.004, "batch_size": 256},
    "whole pictures from the start": {"small_first": 0.0},
    "smaller pictures for 70 %": {"small_first": 0.7},
    "float32": {"precision": "float32"},
    "no mirror image in prediction": {"mirror": False},
}


def main() -> None:
    names = "; ".join(VARIANTS).replace("%", "%%")  # argparse puts values into its help by %
    options = measuring.arguments(
        __doc__,
        epochs={"type": int, "default": 1},
        seeds={"type": int, "nargs": "+", "default": [1, 2]},
        only={"nargs": "+", "choices": ["cnn", "lstm"], "default": ["cnn"]},
        variants={"nargs": "+", "choices": VARIANTS, "default": VARIANTS, "metavar": "NAME", "help": names},
    )
    with scratch.folder("benchmark") as folder:
        measuring.prepare(folder)
        print("| network | variant | validation accuracy | spread | seconds |\n|---|---|---|---|---|")
        for name in options.only:
            for variant in options.variants:
                knobs = {"epochs": options.epochs} | VARIANTS[variant]
                changes = [{"seed": seed, "train": {name: knobs}} for seed in options.seeds]
                records = [measuring.learn(folder, name, change, test=False) for change in changes]
                accuracy = np.array([record["validation"]["accuracy"] for record in records])
                seconds = np.mean([record["training_seconds"] for record in records])
                print(f"| {name} | {variant} | {accuracy.mean():.2%} | {np.ptp(accuracy):.2%} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()

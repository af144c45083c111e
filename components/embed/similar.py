"""`darkroom similar PICTURE ...`: the samples that look most like it."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.compute as pc
from annotated_types import Ge, Le

from components.embed import network as networks
from components.shared import destination
from components.shared.data import embeddings as form
from components.shared.data import manifest as manifests
from components.shared.data.dataset import Sample
from components.shared.data.embeddings import Embeddings
from components.shared.errors import CannotRun
from components.shared.pictures import decode, fit
from components.shared.pictures.formats import Undecodable

SHOWN = 96  # pixels of a picture on a sheet


def similar(
    pictures: Annotated[list[str], "files of pictures; or ids or sources of samples of the data"],
    *,
    embeddings: Annotated[Path, "what embed wrote"] = Path("outputs/embeddings"),
    k: Annotated[int, "so many of each", Ge(1), Le(1000)] = 9,
    sheet: Annotated[Path | None, "a new PNG that shows them, too"] = None,
    manifest: Annotated[Path, "what measure wrote: its small pictures are for the sheet"] = Path("outputs/manifest"),
) -> None:
    """Print what looks most like each picture: similarity (cosine, 1 for the same), label, split, source."""
    about = form.read(embeddings)
    if about is None:
        raise CannotRun(f"{embeddings}: is empty; set the knob embed.network to efficientnet-lite0, and `dvc repro embed`")
    if sheet:
        destination.check_file(sheet, ours=lambda _: False, inputs=[embeddings, manifest])
    shown = [_known(picture, about) if not Path(picture).is_file() else _looked_at(picture, about) for picture in pictures]
    rows, cosines = about.nearest(np.stack([vector for vector, _ in shown]), k)
    samples = about.columns(["label", "split", "source"])
    for picture, found, near in zip(pictures, rows, cosines, strict=True):
        named = samples.take(found).to_pylist()
        print(f"{picture}:")
        for cosine, sample in zip(near, named, strict=True):
            print(f"  {cosine:6.3f}  {sample['label'] or '':20}  {sample['split'] or '':10}  {sample['source']}")
    if sheet:
        _draw(sheet, pictures, [pixels for _, pixels in shown], rows, about, manifest)


def _looked_at(picture: str, about: Embeddings) -> tuple[np.ndarray, np.ndarray]:
    """Vector, and pixels for a sheet, of a file. Raises CannotRun."""
    content = Path(picture).read_bytes()
    try:
        pixels = _small(content)
    except Undecodable as fault:
        raise CannotRun(f"{picture}: does not decode ({fault.reason}); expected a PNG or JPEG") from None
    (features,) = networks.again(about).features([Sample(None, picture, ((content, picture),))])
    return about.project(features[None])[0], pixels


def _known(picture: str, about: Embeddings) -> tuple[np.ndarray, int]:
    """Vector and row of a sample of the data. Raises CannotRun."""
    known = about.columns(["id", "source"])
    row = max(pc.index(known[name], picture).as_py() for name in ("id", "source"))
    if row < 0:
        raise CannotRun(f"{picture}: no such file, and no id or source of a sample in {about.folder}")
    if not about.vectors[row].any():
        raise CannotRun(f"{picture}: has no vector, since it does not decode; `darkroom fix` can take it out")
    return about.vectors[row], row


def _draw(sheet: Path, names: list[str], shown: list, rows: np.ndarray, about: Embeddings, manifest: Path) -> None:
    """The pictures, and beside each what is near; a sample is shown by the manifest's small picture."""
    from components.shared import plots

    if manifests.data_digest(manifest) != about.data_digest:
        raise CannotRun(f"{manifest}: is of other data than {about.folder}; `dvc repro embed` brings them together")
    asked = sorted({*rows.ravel().tolist(), *(each for each in shown if isinstance(each, int))})
    previews = manifests.some(manifests.starts(manifest), asked, ["preview"])["preview"]
    pictures = [each if isinstance(each, np.ndarray) else _small(previews[each]) for each in shown]
    lines = [
        (name, np.stack([picture, *(_small(previews[row]) for row in near)]))
        for name, picture, near in zip(names, pictures, rows.tolist(), strict=True)
    ]
    plots.sheet(sheet, lines, ["picture", "most similar"], height=1.1)
    print(f"{sheet}: shows them")


def _small(content: bytes) -> np.ndarray:
    """uint8 (SHOWN, SHOWN, 3). Raises Undecodable."""
    pixels = decode.decode(content, at_least=SHOWN).pixels
    return fit.fit(pixels, height=SHOWN, width=SHOWN, channels=3, rule="pad")

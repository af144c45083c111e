"""What is recognised to be refused in plain words: CIFAR's pickles, and masks, whose folders would be read as classes."""

from pathlib import Path

from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.listing import Listing
from components.ingest.source import Source
from components.shared.errors import CannotRun, Refused

_PICTURES = {"images", "image", "imgs", "img", "jpegimages", "leftimg8bit"}
_MASKS = {"masks", "mask", "labels", "annotations", "trimaps", "segmentationclass", "segmentationobject", "gtfine"}
EXAMPLE = """\
cifar-10-batches-py/data_batch_1   with what to type instead

images/1.jpg
masks/1.png                        a class of each pixel, not of the picture"""


def fit(listing: Listing) -> Fit | None:
    """Files called as CIFAR's are; or pictures below a folder of masks and below one of images, without annotations of boxes."""
    if file := _pickle(listing):
        return Fit(MARKED, f"{listing.relative(file)} is a pickle of CIFAR's")
    words = {path: set(path.lower().split("/")) for path, folder in listing.folders.items() if folder.stills}
    pictures = [path for path, parts in words.items() if parts & _PICTURES and not parts & _MASKS]
    masks = [path for path, parts in words.items() if parts & _MASKS and not parts & _PICTURES]
    if not pictures or not masks or listing.others(".xml", ".json"):
        return None
    return Fit(MARKED, f"{masks[0]} has the masks of {pictures[0]}")


def read(listing: Listing, options: Options) -> Source:
    """Never. Raises Refused for pickles, CannotRun for masks."""
    if not (file := _pickle(listing)):
        raise CannotRun(
            f"{listing.root}: masks of segmentation, a class of each pixel and not of the picture; ingest its pictures alone in a "
            "folder per class or with a table path,label; or --form class-folders if images and masks are your classes"
        )
    name = "cifar100" if file.name == "meta" else "cifar10"
    raise Refused(
        f"E_PICKLE {file}: a pickle runs whatever code was put into it as soon as it is opened, so it is not read; make arrays of "
        f"the same pictures and ingest {name}.npz:\n"
        f'  python -c "import numpy, keras; (a, b), (c, d) = keras.datasets.{name}.load_data(); '
        f"numpy.savez('{name}.npz', x_train=a, y_train=b, x_test=c, y_test=d)\""
    )


def _pickle(listing: Listing) -> Path | None:
    names = {"batches.meta": "data_batch_1", "meta": "train"}
    return next((file for file in listing.others() if file.name in names and (file.parent / names[file.name]).is_file()), None)


FORM = Form("refused", "CIFAR's pickles and masks of segmentation, to say what to do instead", EXAMPLE, fit, read)

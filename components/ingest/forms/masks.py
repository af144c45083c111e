"""Masks of segmentation, which are refused: their folders would be read as classes."""

from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.listing import Listing
from components.ingest.source import Source
from components.shared.errors import CannotRun

_PICTURES = {"images", "image", "imgs", "img", "jpegimages", "leftimg8bit"}
_MASKS = {"masks", "mask", "labels", "annotations", "trimaps", "segmentationclass", "segmentationobject", "gtfine"}
EXAMPLE = """\
images/1.jpg
masks/1.png          refused: a class of each pixel, not of the picture"""


def fit(listing: Listing) -> Fit | None:
    """Pictures below a folder of masks, and pictures below one of images, without annotations of boxes."""
    words = {path: set(path.lower().split("/")) for path, folder in listing.folders.items() if folder.stills}
    pictures = [path for path, parts in words.items() if parts & _PICTURES and not parts & _MASKS]
    masks = [path for path, parts in words.items() if parts & _MASKS and not parts & _PICTURES]
    if not pictures or not masks or listing.others(".xml", ".json"):
        return None
    return Fit(MARKED, f"{masks[0]} has the masks of {pictures[0]}")


def read(listing: Listing, options: Options) -> Source:
    """Raises CannotRun, always."""
    raise CannotRun(
        f"{listing.root}: masks of segmentation, a class of each pixel and not of the picture; ingest its pictures alone in a folder "
        "per class or with a table path,label; or --form class-folders if images and masks are your classes"
    )


FORM = Form("masks", "masks of segmentation, refused in plain words", EXAMPLE, fit, read)

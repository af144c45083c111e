"""CIFAR's Python version, which is recognised to be refused: it is pickles."""

from pathlib import Path

from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.listing import Listing
from components.ingest.source import Source
from components.shared.errors import Refused

EXAMPLE = """\
cifar-10-batches-py/data_batch_1   refused, with what to type instead"""


def fit(listing: Listing) -> Fit | None:
    """Files called as CIFAR's are."""
    file = _pickle(listing)
    return Fit(MARKED, f"{listing.relative(file)} is a pickle of CIFAR's") if file else None


def read(listing: Listing, options: Options) -> Source:
    """Never. Raises Refused."""
    file = _pickle(listing)
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


FORM = Form("cifar", "CIFAR's pickles, to say what to do instead", EXAMPLE, fit, read)

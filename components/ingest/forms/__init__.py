"""The forms that `ingest` knows, one module each."""

from components.ingest.forms import (
    box_table,
    class_folders,
    coco,
    idx,
    labelled_table,
    masks,
    npz,
    parquet_images,
    voc,
    yolo,
)

_MODULES = (
    class_folders,
    labelled_table,
    parquet_images,
    npz,
    idx,
    coco,
    voc,
    yolo,
    box_table,
    masks,
)
FORMS = {module.FORM.name: module.FORM for module in _MODULES}

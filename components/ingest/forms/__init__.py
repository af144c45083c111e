"""The forms that `ingest` knows, one module each."""

from components.ingest.forms import (
    box_table,
    cifar,
    class_folders,
    coco,
    idx,
    imagenet_lists,
    labelled_table,
    masks,
    npz,
    parquet_images,
    video_lists,
    voc,
    yolo,
)

_MODULES = (
    video_lists,
    imagenet_lists,
    cifar,
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

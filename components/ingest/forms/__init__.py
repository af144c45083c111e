"""The forms that `ingest` knows."""

from components.ingest.forms import (
    box_table,
    class_folders,
    coco,
    cvat,
    idx,
    imagenet_lists,
    npz,
    parquet_images,
    refused,
    sample_tables,
    split_lists,
    tfrecord,
    voc,
    webdataset,
    yolo,
)

_MODULES = (split_lists, imagenet_lists, class_folders, parquet_images, webdataset, tfrecord, npz, idx, coco, cvat, voc, yolo,
            box_table, refused)  # fmt: skip
FORMS = {form.name: form for form in (*sample_tables.FORMS, *(module.FORM for module in _MODULES))}

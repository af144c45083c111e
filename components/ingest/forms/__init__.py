"""The forms that `ingest` knows."""

from components.ingest.forms import (
    box_table,
    box_xml,
    class_folders,
    coco,
    idx,
    imagenet_lists,
    npz,
    parquet_images,
    refused,
    sample_tables,
    split_lists,
    tfrecord,
    webdataset,
    yolo,
)

_MODULES = (
    class_folders,
    split_lists,
    imagenet_lists,
    parquet_images,
    webdataset,
    tfrecord,
    npz,
    idx,
    coco,
    yolo,
    box_table,
    refused,
)
FORMS = {form.name: form for form in (*(module.FORM for module in _MODULES), *sample_tables.FORMS, box_xml.VOC, box_xml.CVAT)}

"""The forms that `ingest` knows, one module each."""

from components.ingest.forms import (
    box_table,
    cifar,
    class_folders,
    coco,
    hugging_face,
    idx,
    imagenet_lists,
    jester,
    kaggle,
    label_studio,
    labelled_table,
    masks,
    npz,
    parquet_images,
    roboflow,
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
    roboflow,
    label_studio,
    kaggle,
    hugging_face,
    jester,
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

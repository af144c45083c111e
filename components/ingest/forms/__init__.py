"""The forms that `ingest` knows, one module each."""

from components.ingest.forms import class_folders, idx, labelled_table, npz, parquet_images

FORMS = {form.name: form for form in (class_folders.FORM, labelled_table.FORM, idx.FORM, npz.FORM, parquet_images.FORM)}

"""The forms that `ingest` knows, one module each."""

from components.ingest.forms import class_folders, idx, npz, table

FORMS = {form.name: form for form in (class_folders.FORM, table.FORM, idx.FORM, npz.FORM)}

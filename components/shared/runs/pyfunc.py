"""What MLflow runs of a registered model ("models from code", no pickle): bytes of pictures in, answers out, by the installed Darkroom.

MLflow copies this file beside the package and runs it where the model is loaded; nothing here imports it.
"""

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

AT_ONCE = 256  # samples


class Darkroom(PythonModel):
    """A package that answers."""

    def load_context(self, context) -> None:
        """Read the package, once its digest is what it was when it was logged. Raises CannotRun."""
        from components.shared.models import package
        from components.shared.models.recogniser import Recogniser

        read = package.read(Path(context.artifacts["package"]), digest=context.model_config["package_sha256"])
        self._recogniser = Recogniser(read)

    def predict(self, context, model_input, params=None) -> pd.DataFrame:
        """Label, probability, prediction set and whether the model abstained, a row a sample.

        `model_input`: a column `image` of a DataFrame, a list, an array, or one picture: the bytes of a PNG or JPEG (in JSON as
        base64); of a clip the list of its frames. Raises MlflowException (400) for what is no picture.
        """
        if isinstance(model_input, bytes | str):
            model_input = [model_input]
        if isinstance(model_input, pd.DataFrame):
            model_input = model_input["image" if "image" in model_input else model_input.columns[0]]
        samples, rows = list(model_input), []
        for start in range(0, len(samples), AT_ONCE):
            pixels = [self._pixels(at, sample) for at, sample in enumerate(samples[start : start + AT_ONCE], start)]
            rows += [
                (each.label, each.probability, each.prediction_set, each.abstained)
                for each in self._recogniser.answers(np.stack(pixels))
            ]
        return pd.DataFrame(rows, columns=["label", "probability", "prediction_set", "abstained"])

    def _pixels(self, at: int, sample: bytes | str | Iterable) -> np.ndarray:
        from components.shared.pictures.decode import Undecodable

        frames = [sample] if isinstance(sample, bytes | str) else sample
        try:
            encoded = [base64.b64decode(each, validate=True) if isinstance(each, str) else bytes(each) for each in frames]
            return self._recogniser.package.preprocessing.sample(encoded)
        except (Undecodable, TypeError, ValueError, IndexError, binascii.Error) as error:
            raise MlflowException.invalid_parameter_value(
                f"sample {at}: expected the bytes of a PNG or JPEG, in JSON as base64, of a clip a list of them ({error})"
            ) from None


set_model(Darkroom())

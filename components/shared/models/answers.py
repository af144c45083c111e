"""What a model says of a sample, and how sure it may be: from probabilities to answers, the same for whoever predicts."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Calibration:
    """Numbers of validation data. Probabilities are already divided by the temperature, which lies in the network's weights.

    `set_floor`: classes at or above this probability are in the prediction set, which holds the true one in `coverage` of cases.
    `answer_floor`: below this highest probability the model abstains; `answered` of the validation samples are at or above it.
    """

    temperature: float
    coverage: float
    set_floor: float
    answered: float
    answer_floor: float

    @classmethod
    def fit(
        cls, labels: np.ndarray, probabilities: np.ndarray, *, temperature: float, coverage: float, answered: float
    ) -> "Calibration":
        """Of the validation split: `labels` (n,) int, `probabilities` (n, classes), `coverage` and `answered` in 0 to 1.

        Sets by the least ambiguous rule (Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error
        Levels", 2019): the finite-sample quantile of the true class's probability. Few samples make wide sets.
        """
        true = np.sort(probabilities[np.arange(len(labels)), labels].astype(np.float64))
        allowed = math.floor((1 - coverage) * (len(labels) + 1))  # so many true classes may be left out
        surest = np.quantile(probabilities.max(1).astype(np.float64), 1 - answered)
        return cls(float(temperature), coverage, float(true[allowed - 1]) if allowed else 0.0, answered, float(surest))

    def sets(self, probabilities: np.ndarray) -> np.ndarray:
        """bool (n, classes): which classes each sample's prediction set holds; the most probable one in any case."""
        held = probabilities >= self.set_floor
        held[np.arange(len(held)), probabilities.argmax(1)] = True
        return held


@dataclass(frozen=True)
class Answer:
    """What a model says of one sample. `top`: the most probable classes and their probabilities, surest first."""

    label: str
    probability: float
    prediction_set: list[str]
    abstained: bool
    top: list[tuple[str, float]]


def answers(probabilities: np.ndarray, classes: list[str], calibration: Calibration, *, top: int = 1) -> list[Answer]:
    """Of float32 (n, classes), an answer a row."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    found = []
    for row, by_rank, inside in zip(probabilities, order, calibration.sets(probabilities), strict=True):
        best = by_rank[0]
        held = [classes[index] for index in by_rank if inside[index]]
        ranked = [(classes[index], float(row[index])) for index in by_rank[:top]]
        found.append(Answer(classes[best], float(row[best]), held, bool(row[best] < calibration.answer_floor), ranked))
    return found

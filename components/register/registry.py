"""MLflow's registry: versions, the champion's alias, and the champion's score on today's test split."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from components.register.candidates import Candidate
from components.shared.data import arrays
from components.shared.errors import Refused
from components.shared.models import keras_file

ALIAS = "champion"
IDENTITY = "identity"


def classes_tag(candidate: Candidate) -> str:
    """What a candidate recognises, short enough for a tag however many classes there are."""
    return hashlib.sha256("\n".join(candidate.record["classes"]).encode()).hexdigest()


class Registry:
    """One registered model. Every call goes to the server; errors of MLflow pass through."""

    def __init__(self, mlflow, name: str) -> None:
        self._mlflow, self._client, self.name = mlflow, mlflow.MlflowClient(), name
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name)

    def champion(self):
        """The version that the alias names, or None."""
        alias = self._client.get_registered_model(self.name).aliases.get(ALIAS)
        return self._client.get_model_version(self.name, alias) if alias else None

    def add(self, candidate: Candidate, model_id: str, sha256: str, description: str) -> str:
        """The version of this candidate: a new one, or the one that it has already."""
        for version in self._client.search_model_versions(f"name = '{self.name}'"):
            if version.tags.get(IDENTITY) == candidate.identity:
                return str(version.version)
        tags = {
            IDENTITY: candidate.identity,
            "architecture": candidate.architecture,
            "data_digest": candidate.record["data_digest"],
            "git_commit": candidate.record["tags"]["git_commit"],
            "sha256": sha256,
            "test_digest": candidate.test_digest,
            "shape": str(candidate.record["shape"]),
            "classes": classes_tag(candidate),
            **{f"test_{name}": repr(value) for name, value in candidate.metrics.items()},
        }
        made = self._client.create_model_version(
            self.name,
            f"models:/{model_id}",
            tags=tags,
            description=description,
            model_id=model_id,  # a server refuses a source without it
        )
        return str(made.version)

    def promote(self, version: str) -> None:
        """Let the alias name this version."""
        self._client.set_registered_model_alias(self.name, ALIAS, version)

    def score(self, version, candidate: Candidate, test: Callable[[], arrays.Split], metric: str) -> float | None:
        """The version's metric on the candidate's test split, None when it recognises other classes.

        Taken from its tags when it was scored on these very samples, and measured anew when not; where it takes pictures of
        another size it cannot be measured here, and what it reached on its own test split stands.
        """
        recorded = float(version.tags[f"test_{metric}"])
        if version.tags["classes"] != classes_tag(candidate):
            return None
        if version.tags["test_digest"] == candidate.test_digest or version.tags["shape"] != str(candidate.record["shape"]):
            return recorded
        from components.shared.models.scores import scores

        folder = Path(self._mlflow.artifacts.download_artifacts(f"models:/{self.name}/{version.version}"))
        file = next(folder.rglob(keras_file.FILE), None)
        if file is None:
            raise Refused(f"champion {self.name} version {version.version}: has no {keras_file.FILE}")
        model = keras_file.load(file, sha256=version.tags["sha256"])
        split = test()
        return scores(split.labels, keras_file.predict(model, split.images, name="champion"))[metric]

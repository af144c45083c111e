"""MLflow's registry: one registered model, its versions, and the alias of its champion."""

import functools

import numpy as np

from components.shared import scratch
from components.shared.errors import CannotRun
from components.shared.runs import logged_model
from components.shared.runs.connection import SEND, ask

ALIAS = "champion"
IDENTITY, DAMAGED = "identity", "damaged"


class Registry:
    """One registered model. Each call goes to the server, in time, and holds when other processes call at the same time."""

    def __init__(self, mlflow, name: str) -> None:
        self._mlflow, self.client, self.name = mlflow, mlflow.MlflowClient(), name
        ask(mlflow, self._make)

    def _make(self) -> None:
        if not self.client.search_registered_models(f"name = '{self.name}'"):
            self.client.create_registered_model(self.name)

    def champion(self):
        """The version that the alias names, or None."""

        def read():
            version = self.client.get_registered_model(self.name).aliases.get(ALIAS)
            return self.client.get_model_version(self.name, version) if version else None

        return ask(self._mlflow, read)

    def promote(self, version: str) -> None:
        """Let the alias name this version."""
        ask(self._mlflow, lambda: self.client.set_registered_model_alias(self.name, ALIAS, version))

    def describe(self, version: str, description: str) -> None:
        """Replace a version's description."""
        ask(self._mlflow, lambda: self.client.update_model_version(self.name, version, description))

    def add(self, tags: dict[str, str], description: str, model_id: str) -> str:
        """The version of this identity, whose files were read back just now: the one that is there, or a new one.

        `tags`: what a new version says of itself; among them `identity`, the same for the same weights from the same data and
        knobs, and `weights_sha256`. A version whose files are not what was trained is marked, and a new one made.
        """
        while present := ask(self._mlflow, lambda: self._versions(tags[IDENTITY])):
            try:
                self.read(present[0])
            except logged_model.Unusable as error:
                print(f"register: {self.name} version {present[0].version}: {error}; a new version takes its place")
                mark = functools.partial(self.client.set_model_version_tag, self.name, present[0].version, DAMAGED, str(error))
                ask(self._mlflow, mark)
                continue
            return str(present[0].version)
        # A server refuses a source without the model's id.
        made = {"source": f"models:/{model_id}", "tags": tags, "description": description, "model_id": model_id}
        first = ask(self._mlflow, lambda: self.client.create_model_version(self.name, **made))
        # Numbers are given in turn: of several that came at once, or whose answer was lost on its way, all see the lowest.
        lowest, *others = ask(self._mlflow, lambda: self._versions(tags[IDENTITY])) or [first]
        for other in others:
            ask(self._mlflow, functools.partial(self._delete, other))
        return str(lowest.version)

    def _delete(self, version) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.delete_model_version(self.name, version.version)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # its maker was faster
                raise

    def _versions(self, identity: str) -> list:
        found = self.client.search_model_versions(f"name = '{self.name}' and tags.{IDENTITY} = '{identity}'")
        return sorted((version for version in found if DAMAGED not in version.tags), key=lambda one: int(one.version))

    def read(self, version):
        """The Keras model of a version. Raises Unusable when its files are gone, damaged or foreign."""

        def read():
            address = self.client.get_model_version_download_uri(self.name, version.version)
            tags = version.tags
            return logged_model.read_back(address, tags["weights_sha256"], tags.get(logged_model.DIGEST, ""))[0]

        return ask(self._mlflow, read, seconds=5 * SEND)

    def seen(self, version) -> np.ndarray | None:
        """uint64 (m,): the keys of what a version has learnt from (see shared/data/seen); None when that was not kept."""
        from mlflow.exceptions import MlflowException

        from components.shared.data import seen

        def read() -> np.ndarray | None:
            with scratch.folder("model") as folder:
                try:
                    address = self.client.get_run(version.run_id).info.artifact_uri
                    return seen.read(logged_model.fetch(address, seen.FILE, folder))
                except (CannotRun, logged_model.Unusable):  # damaged, or gone
                    return None
                except MlflowException as error:
                    if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # the run was deleted for good
                        return None
                    raise

        return ask(self._mlflow, read) if version.run_id else None

"""How the steps run on a cluster: the one settings file, checked, and applied to the tasks of the graph."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from components import IN_GRAPHS
from components.shared import config, yaml_reader
from components.shared.config import IMAGE, PIPELINE_RUN
from components.shared.errors import CannotRun
from components.shared.parallel import CPUS
from components.shared.store import STORE

if TYPE_CHECKING:  # `--help` needs none of it
    from kfp import dsl

FILE = Path("pipelines/settings.yaml")
USER = 10001  # of the image
SIGNING = "/signing"  # where register finds the files of `signing_secret`
POD_LABEL = ("darkroom", "step")  # what infra/kubernetes knows the pods of steps by: network policies let no others in


class Strict(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(Strict):
    """What differs from the defaults for one step; None: as there."""

    cpu: str | None = Field(None, pattern=r"^\d+(\.\d+|m)?$")
    memory: str | None = Field(None, pattern=r"^\d+(Ki|Mi|Gi|Ti|K|M|G|T)$")
    accelerator: str | None = None
    accelerators: int | None = Field(None, ge=0)
    retries: int | None = Field(None, ge=0)
    backoff: int | None = Field(None, ge=1)
    timeout: int | None = Field(None, ge=1)


class Parts(Strict):
    """When measuring, decoding and predicting are spread over pods."""

    shards: int = Field(ge=1)
    at_once: int = Field(ge=1)


class Settings(Strict):
    """The whole file; each key is explained there."""

    parts: Parts
    namespace: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    service_account: str
    pipeline_root: str
    store: str = Field(pattern=r"^\w+://[^@]+$")
    webhook: str
    environment: dict[str, str]
    secrets: dict[str, dict[str, str]]
    signing_secret: str
    image_pull_secrets: list[str]
    node_selector: dict[str, str]
    defaults: Step
    steps: dict[str, Step]

    def of(self, step: str) -> Step:
        """The defaults with what differs for this step."""
        own = self.steps.get(step, Step()).model_dump(exclude_none=True)
        return Step.model_validate(self.defaults.model_dump() | own)

    def apply(self, task: "dsl.PipelineTask", step: str, image: str) -> None:
        """Give a task of the graph its resources, retries, time limit, environment, secrets and place."""
        from kfp import kubernetes

        from pipelines.execution import PARTS

        own = self.of(step)
        task.set_cpu_request(own.cpu).set_memory_limit(own.memory)  # asked for, too
        if own.accelerators:
            task.set_accelerator_type(own.accelerator).set_accelerator_limit(own.accelerators)
        if own.retries:
            # Argo tries nothing again once this much time has passed since the first try began (KFP's own default: an hour).
            longest = own.timeout * (own.retries + 1) + own.backoff * 2**own.retries
            task.set_retry(own.retries, f"{own.backoff}s", backoff_factor=2, backoff_max_duration=f"{longest}s")
        kubernetes.set_timeout(task, own.timeout)
        kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
        own_environment = {STORE: self.store, CPUS: own.cpu}
        if step in IN_GRAPHS and IN_GRAPHS[step].parts:
            own_environment[PARTS] = f"{self.parts.shards}/{self.parts.at_once}"
        if step == "package":
            own_environment[IMAGE] = image  # for the statement of what a version was made from
        for name, value in {**self.environment, **own_environment}.items():
            task.set_env_variable(name, value)
        # By the pod's label, and not as a parameter: what differs in each run would be in each cache key.
        kubernetes.use_field_path_as_env(task, PIPELINE_RUN, "metadata.labels['pipeline/runid']")
        kubernetes.add_pod_label(task, *POD_LABEL)
        for secret, keys in self.secrets.items():
            kubernetes.use_secret_as_env(task, secret, keys)
        if step == "register" and self.signing_secret:
            kubernetes.use_secret_as_volume(task, self.signing_secret, SIGNING)
        for label, value in self.node_selector.items():
            kubernetes.add_node_selector(task, label, value)
        if self.image_pull_secrets:
            kubernetes.set_image_pull_secrets(task, self.image_pull_secrets)


def read(file: Path = FILE) -> Settings:
    """Raises CannotRun with a line per fault."""
    content = yaml_reader.read(file, missing="run from the project's folder or name it with --settings")
    settings = config.parse(Settings, content, path=file.name)
    known = [*IN_GRAPHS, "gate", "report"]  # the graph's own beside the steps
    missing = [name for name, value in settings.defaults if value is None]
    unknown = [name for name in settings.steps if name not in known]
    faults = [f"{file.name}.defaults.{name}: missing; every default stands in the file" for name in missing]
    faults += [f"{file.name}.steps.{name}: no such step; there are: {', '.join(known)}" for name in unknown]
    if settings.environment.keys() & {"AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD"}:
        faults.append(f"{file.name}.environment: holds a secret in the clear; name a Kubernetes secret under `secrets`")
    if faults:
        raise CannotRun(*faults)
    return settings

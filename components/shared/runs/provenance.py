"""What a version was made of and by: an in-toto statement in SLSA's words, and a list of the packages (CycloneDX).

Sources: https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance, https://cyclonedx.org/docs/1.6. Neither holds a
time: the same package from the same place has the same files.
"""

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import uuid
from pathlib import Path

from components.shared import files
from components.shared.config import IMAGE
from components.shared.models.package import Package

STATEMENT, PACKAGES = "provenance.json", "sbom.json"
ROOT = Path(__file__).parents[3]
LOCKS = ("requirements.lock", "infra/image.lock")  # of a checkout; in an image there is the second alone


def write(folder: Path, package: Package, record: dict) -> None:
    """Write both files of a package into a folder; `record` is the run.json of train."""
    (folder / PACKAGES).write_text(packages(), encoding="utf-8")
    files.write_json(folder / STATEMENT, statement(package, record, sbom=files.digest(folder / PACKAGES)))


def statement(package: Package, record: dict, *, sbom: str) -> dict:
    """SLSA's provenance of a package, whose digest is the subject."""
    commit, changed, _ = record["tags"]["git_commit"].partition("+")
    used = [
        {"name": "code", "digest": {"gitCommit": commit}, "annotations": {"changed": bool(changed)}},
        {"name": "data.dvc", "digest": {"md5": record["data_digest"].removesuffix(".dir")}},
        {"name": PACKAGES, "digest": {"sha256": sbom}},
    ]
    used += [{"name": lock, "digest": {"sha256": files.digest(ROOT / lock)}} for lock in LOCKS if (ROOT / lock).is_file()]
    if image := os.environ.get(IMAGE):
        name, _, digest = image.partition("@sha256:")
        used.append({"name": "image", "uri": name} | ({"digest": {"sha256": digest}} if digest else {}))
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": package.name, "digest": {"sha256": package.digest}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:darkroom:training:1",
                "externalParameters": {"knobs": record["knobs"], "knobs_sha256": _digest(record["knobs"])},
                "internalParameters": {"processor": processor()},
                "resolvedDependencies": used,
            },
            "runDetails": {
                "builder": {"id": "urn:darkroom", "version": {"darkroom": importlib.metadata.version("darkroom")}},
                "metadata": {"invocationId": record["training_id"]},
            },
        },
    }


def processor() -> str:
    """The name of this machine's processor: another one rounds otherwise."""
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        names = []
    return names[0].strip() if names else platform.processor() or platform.machine()


def processor_of(statement: dict) -> str:
    """The one that a statement names; empty where it names none."""
    return statement.get("predicate", {}).get("buildDefinition", {}).get("internalParameters", {}).get("processor", "")


def versions(sbom: dict) -> dict[str, str]:
    """Name -> version of each package that a list names."""
    return {one["name"]: one["version"] for one in sbom.get("components", ())}


def _digest(knobs: dict) -> str:
    return hashlib.sha256(json.dumps(knobs, sort_keys=True).encode()).hexdigest()


@functools.cache
def packages() -> str:
    """CycloneDX 1.6 as JSON: what is installed here of the packages that the lock names."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    installed = {_normal(one.metadata["Name"]): one.version for one in importlib.metadata.distributions()}
    lock = next(((ROOT / lock).read_text() for lock in LOCKS if (ROOT / lock).is_file()), "")
    named = {_normal(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)} or set(installed)
    found = sorted((name, version) for name, version in installed.items() if name in named)
    components = []
    for name, version in found:
        address = PackageURL("pypi", name=name, version=version)
        components.append(Component(type=ComponentType.LIBRARY, name=name, version=version, purl=address, bom_ref=str(address)))
    content = Bom(components=components, serial_number=uuid.uuid5(uuid.NAMESPACE_URL, repr(found)))
    content.metadata.timestamp = None
    return JsonV1Dot6(content).output_as_string(indent=1)


def _normal(name: str) -> str:
    """A name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()

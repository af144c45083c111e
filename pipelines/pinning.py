"""The image by a name that Kubernetes pulls once for a node: one without a fixed tag gets the digest that its registry tells."""

import contextlib
import functools
import re

from components.shared import deadline
from components.shared.errors import CannotRun

SECONDS = 30


@functools.cache
def pinned(image: str) -> str:
    """`image` itself where it has a digest or a tag that stays; else by the digest that it has now.

    `:latest`, or no tag, is pulled anew for each pod, from a registry that may hold something else by then, or that does not
    exist. Raises CannotRun when nobody tells the digest.
    """
    repository, _, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", "")
    if "@" in image or tag not in ("", "latest"):
        return image
    # Where `localhost` has no port it is no registry, but what podman calls the images that were built here.
    digest = "" if image.startswith("localhost/") else _told(f"{repository}:latest")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise CannotRun(
            f"image {image}: Kubernetes would pull it for each pod, and neither skopeo nor docker tells its digest; give it a "
            "fixed tag: `make image IMAGE=registry.example.org/darkroom:1`, push it and name it in DARKROOM_IMAGE; for kind, "
            "minikube and k3d `make image` alone, loaded into the node (infra/README.md)"
        )
    return f"{repository}@{digest}"


def _told(image: str) -> str:
    """What the registry tells skopeo or docker. Not what an engine notes itself: no registry knows the digests of podman's notes."""
    skopeo = ["skopeo", "inspect", "--format", "{{.Digest}}", f"docker://{image}"]
    docker = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", image]
    for command in (skopeo, docker):
        with contextlib.suppress(CannotRun):  # there is none
            if digest := deadline.command(command, seconds=SECONDS).stdout.strip():
                return digest
    return ""

#!/usr/bin/env bash
# Build the image: infra/image.sh [TAG]. ENGINE (podman, buildah, docker) and BASE may be named; without a container
# registry in reach, BASE is made from Debian's packages.
set -eu
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
tag=${1:-localhost/darkroom:$version}
default_base=docker.io/library/python:3.11-slim-bookworm
own_base=localhost/darkroom-base:bookworm

for engine in ${ENGINE:-podman buildah docker}; do command -v "$engine" > /dev/null && break; done
command -v "$engine" > /dev/null || {
  echo "no podman, buildah or docker here; on Debian or Ubuntu, as root: infra/engine.sh" >&2
  exit 2
}
has() { case $engine in
  buildah) buildah images --quiet "$1" > /dev/null 2>&1 ;;
  *) "$engine" image inspect "$1" > /dev/null 2>&1 ;;
esac; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

base=${BASE:-}
if [ -z "$base" ]; then
  if has "$own_base"; then base=$own_base
  elif has "$default_base" || timeout 120 "$engine" pull --quiet "$default_base" > /dev/null 2>&1; then base=$default_base
  else
    echo "no container registry in reach: making $own_base from Debian's packages"
    command -v mmdebstrap > /dev/null || { echo "mmdebstrap is needed for it; as root: infra/engine.sh" >&2; exit 2; }
    nothing_to_read=(); for kind in doc man info locale; do nothing_to_read+=(--dpkgopt="path-exclude=/usr/share/$kind/*"); done
    mmdebstrap --quiet --variant=essential --include=python3,python3-venv,ca-certificates,libstdc++6 "${nothing_to_read[@]}" \
      bookworm "$scratch/base.tar"
    case $engine in
      buildah) # buildah has no import: an image from nothing but the archive
        printf 'FROM scratch\nADD base.tar /\n' > "$scratch/Containerfile"
        buildah bud --quiet --tag "$own_base" "$scratch" ;;
      *) "$engine" import "$scratch/base.tar" "$own_base" > /dev/null ;;
    esac
    rm -f "$scratch/base.tar" "$scratch/Containerfile"
    base=$own_base
  fi
fi

# The context is what git knows and the image needs: no data, no results, nothing that happens to lie about.
git ls-files -z components pipelines pyproject.toml README.md LICENSE NOTICE params.yaml infra/image.lock infra/Containerfile |
  xargs -0 cp --parents -t "$scratch"
commit=$(git rev-parse HEAD)$(git diff --quiet HEAD -- components pipelines infra/image.lock || echo +changes)
code=$(cd "$scratch" && python3 -c 'from pipelines import graph; print(graph.code_digest())')

# pip in the build finds packages as pip on this machine does: its index, its certificates.
secrets=$scratch/secrets; mkdir -m 700 "$secrets"
ca=${PIP_CERT:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}
{ echo "[global]"; [ ! -f "$ca" ] || echo "cert = /run/secrets/ca.crt"
  python3 -m pip config list 2> /dev/null | sed -n "s/^\(global\|:env:\)\.\(index-url\|proxy\|trusted-host\)='\(.*\)'/\2 = \3/p"
} > "$secrets/pip.conf"
if [ -f "$ca" ]; then cp "$ca" "$secrets/ca.crt"; else : > "$secrets/ca.crt"; fi

arguments=(--network host --secret "id=pipconf,src=$secrets/pip.conf" --secret "id=ca,src=$secrets/ca.crt"
  --build-arg "BASE=$base" --build-arg "COMMIT=$commit" --build-arg "CODE=$code" --build-arg "VERSION=$version"
  --file "$scratch/infra/Containerfile" --tag "$tag")
# The context must not hold the secrets: it is the folder that the image's files were copied to, less theirs.
mkdir "$scratch/context" && echo "$commit" > "$scratch/context/commit" && mv "$scratch"/{components,pipelines,pyproject.toml,README.md,LICENSE,NOTICE,params.yaml,infra} "$scratch/context/"
arguments=("${arguments[@]/$scratch\/infra/$scratch/context/infra}")
case $engine in
  buildah) buildah bud --layers "${arguments[@]}" "$scratch/context" ;;
  docker) DOCKER_BUILDKIT=1 docker build "${arguments[@]}" "$scratch/context" ;;
  *) podman build "${arguments[@]}" "$scratch/context" ;;
esac
echo "$tag: built from $base at $commit, code $code"

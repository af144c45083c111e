#!/usr/bin/env bash
# What `make test-all` needs beside .venv: a container engine, PostgreSQL, a browser and wrong clocks (libfaketime) from Debian's
# packages, the tools of infra/tools.lock, and KServe's client (infra/kserve.lock) in .venv/kserve. Nothing to do when they are there.
set -eu
infra/engine.sh
missing=()
ls /usr/lib/postgresql/*/bin/postgres > /dev/null 2>&1 || missing+=(postgresql)
ls /usr/lib/*/faketime/libfaketime.so.1 > /dev/null 2>&1 || missing+=(libfaketime)
command -v chromedriver > /dev/null || missing+=(chromium chromium-driver)
[ ${#missing[@]} -eq 0 ] || {
  [ "$(id -u)" = 0 ] || { echo "as root: apt-get install ${missing[*]}" >&2; exit 2; }
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
}
wanted=$(git hash-object infra/tools.lock infra/kserve.lock)
[ "$(cat .venv/tools 2> /dev/null || true)" = "$wanted" ] && exit 0
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r infra/tools.lock
.venv/bin/python -m venv --clear .venv/kserve
.venv/kserve/bin/python infra/install.py infra/kserve.lock
echo "$wanted" > .venv/tools

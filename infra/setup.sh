#!/usr/bin/env bash
# Make .venv what requirements.lock says. Nothing to do when it is that already; a copied folder's .venv is made anew,
# since its programs point to where it was made.
set -eu
python=${PYTHON:-python3}
wanted="$PWD $(cat requirements.lock pyproject.toml | git hash-object --stdin)"
[ "$(cat .venv/installed 2>/dev/null || true)" = "$wanted" ] && exit 0

"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
  echo "Python 3.11 to 3.13 is needed; name it: make run PYTHON=python3.12" >&2
  exit 2
}
echo "setting up .venv (a minute or two, once)"
case $(cat .venv/installed 2>/dev/null || true) in
  "$PWD "*) ;; # ours, only outdated
  *) rm -rf .venv ;;
esac
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python infra/install.py requirements.lock
.venv/bin/python -m pip check --quiet
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
echo "$wanted" > .venv/installed

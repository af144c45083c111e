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
echo "setting up .venv (some minutes, once)"
case $(cat .venv/installed 2>/dev/null || true) in
  "$PWD "*) ;; # ours, only outdated
  *) rm -rf .venv ;;
esac
[ -x .venv/bin/python ] || "$python" -m venv .venv
# pip and not a faster tool: it knows the mirror, proxy and certificates that are set up on the machine.
pip() { .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
# The lock names every package there is to install: no resolving, so a newer release on an index changes nothing.
pip --require-hashes --no-deps -r requirements.lock
.venv/bin/python -m pip check --quiet
pip --no-deps --no-build-isolation --editable .
echo "$wanted" > .venv/installed

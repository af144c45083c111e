#!/usr/bin/env bash
# Refuse to run on data that is not what data.dvc records. DVC alone would take it and rewrite data.dvc without a word.
set -eu
state=$(dvc status --json data.dvc)
case $state in
  *modified* | *deleted*)
    echo "data/ is not what data.dvc records." >&2
    echo "  You changed it:       dvc add data" >&2
    echo "  You did not:          rm -r data && make run" >&2
    exit 1
    ;;
  *"not in cache"*) dvc commit --quiet --force data.dvc ;; # just made, and right: DVC may keep its copy
esac

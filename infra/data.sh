#!/usr/bin/env bash
# Bring data/ to what data.dvc records, and refuse to go on with anything else. DVC alone would take other data and
# rewrite data.dvc without a word.
set -eu -o pipefail
fashion_mnist=82fd284cc654ec2d88387931bc83436b.dir # what this project ships with, and can fetch from elsewhere

recorded=$(sed -n 's/^- md5: //p' data.dvc)
if [ ! -d data ]; then
  if [ "$recorded" = "$fashion_mnist" ]; then
    dvc pull --quiet data.dvc 2>/dev/null || darkroom ingest fashion-mnist data | sed "/^next: /d" # what is next follows here
  else
    dvc pull data.dvc || {
      echo "data/ is missing and its remote does not have it; \`darkroom ingest SOURCE data\` makes it again." >&2
      exit 2
    }
  fi
fi
there=$(darkroom digest data) || there="no digest"  # it says which shard is damaged
if [ "$there" != "$recorded" ]; then
  echo "data/ is not what data.dvc records ($there, expected $recorded)." >&2
  echo "  You changed it:       dvc add data" >&2
  echo "  You did not:          rm -r data && make run" >&2
  exit 1
fi
case $(dvc status --json data.dvc) in
  *"not in cache"*) dvc commit --quiet --force data.dvc ;; # just made, and right: DVC may keep its copy
esac

#!/usr/bin/env bash
# Train a sketch on ci/sounds, write ci/out/comment.md and two new sounds, and fail on a failing verdict.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p ci/out

# As dvc repro, with a few values of params.yaml replaced for this one run.
cp params.yaml ci/out/params.yaml
trap 'mv ci/out/params.yaml params.yaml' EXIT
dvc exp run --set-param data.path=ci/sounds --set-param run.preset=sketch --set-param model.name=ci
distill generate models/ci.distill -n 2 --seed 0 --format flac -o ci/out --force --quiet
cp ci/out/params.yaml params.yaml

verdict=$(python -c 'import json; print(json.load(open("metrics/check_memorization.json"))["verdict"])')
{
  echo "Memorization: **$verdict**"
  echo
  dvc metrics show --md
  if [ -n "${GITHUB_BASE_REF:-}" ]; then
    echo
    dvc params diff --md "origin/$GITHUB_BASE_REF"
  fi
} > ci/out/comment.md
[ "$verdict" != fail ]

#!/usr/bin/env bash
# The main job on the sounds that come with the project: install, train, generate.
set -euo pipefail
source "$(dirname "$0")/setup.sh" "[ui]"

dvc repro
distill generate models/bundled.distill -n 4 --natural --duration 2 -o generated/bundled --force --quiet > /dev/null

echo
echo "The model:      $PWD/models/bundled.distill"
echo "New sounds in:  $PWD/generated/bundled"
ls generated/bundled

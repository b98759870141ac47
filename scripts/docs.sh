#!/usr/bin/env bash
# Build the documentation into site/, strictly; open site/index.html in a browser. Arguments go to mkdocs.
set -euo pipefail
source "$(dirname "$0")/setup.sh" "[docs]"

NO_MKDOCS_2_WARNING=1 mkdocs build --strict "$@"
echo "The documentation: $PWD/site/index.html"

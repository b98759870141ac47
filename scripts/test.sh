#!/usr/bin/env bash
# Install what the tests need and run them; arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/setup.sh" "[dev]"

pytest "$@"

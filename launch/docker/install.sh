#!/usr/bin/env bash
# Install what the programs need into the Python given, as the Dockerfile does, and look whether it is whole.
#
#   PYTHON=python3 ACCELERATOR=tpu launch/docker/install.sh     ACCELERATOR: tpu, gpu, or nothing for CPUs
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! "${PYTHON:=python3}" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))'; then
  echo "error: $PYTHON is no Python 3.12: set PYTHON to one (launch/find_python.sh looks for it)" >&2
  exit 1
fi
"$PYTHON" -m pip install --progress-bar=off -r "requirements${ACCELERATOR:+-$ACCELERATOR}.txt"
"$PYTHON" -m pip check
"$PYTHON" -m launch.train --help >/dev/null

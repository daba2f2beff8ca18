#!/usr/bin/env bash
# Install what the programs need into the Python given, as the Dockerfile does, and look whether it is whole.
#
#   PYTHON=python3 ACCELERATOR=tpu launch/docker/install.sh     ACCELERATOR: tpu, gpu, or nothing for CPUs
set -euo pipefail
cd "$(dirname "$0")/../.."
"${PYTHON:=python3}" -m pip install --progress-bar=off -r "requirements${ACCELERATOR:+-$ACCELERATOR}.txt"
"$PYTHON" -m pip check
"$PYTHON" -m launch.train --help >/dev/null

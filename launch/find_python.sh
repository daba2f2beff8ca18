#!/bin/sh
# Print the path of a Python 3.12 that can make environments, or end with one sentence. The Makefile and tpu_vm/train.sh
# ask here; nothing but the shell is needed.
set -u
home=${HOME:-/nonexistent}

# Where it is no 3.12, or one without venv (Debian's python3.12 alone), nothing is printed. In an environment that is
# about to be made anew the answer is the Python below it.
try() {
  "$1" -c 'import sys
if sys.version_info[:2] != (3, 12):
    sys.exit(1)
import ensurepip, venv
print(sys._base_executable)' 2>/dev/null
}

for python in python3.12 python3 python "$home/.local/bin/python3.12" \
  "${PYENV_ROOT:-$home/.pyenv}"/versions/3.12*/bin/python; do
  try "$python" && exit 0
done
export UV_PYTHON_PREFERENCE=only-managed UV_PYTHON_DOWNLOADS=never # those of uv's own; others were tried above
for uv in uv "$home/.local/bin/uv"; do
  python=$("$uv" python find --no-project 3.12 2>/dev/null) && try "$python" && exit 0
done
echo "error: no Python 3.12 with venv was found on PATH, in ~/.local/bin, or among those of pyenv and uv: install one" \
  "(apt install python3.12-venv, pyenv install 3.12, or uv python install 3.12) and repeat the command" >&2
exit 1

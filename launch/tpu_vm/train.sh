#!/usr/bin/env bash
# Train on all machines of a Cloud TPU slice, by ssh. README.md beside this file has the steps.
#
#   launch/tpu_vm/train.sh install TPU_NAME ZONE
#   launch/tpu_vm/train.sh start TPU_NAME ZONE --config=FILE.py --workdir=SHARED/FOLDER
#   launch/tpu_vm/train.sh stop TPU_NAME ZONE
set -euo pipefail
action=${1:?install, start or stop} name=${2:?the TPU\'s name} zone=${3:?its zone}
shift 3

everywhere() { gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$1"; }

case $action in
install) # this commit, on each machine
  archive=$(mktemp --suffix=.tar.gz)
  git archive --output="$archive" HEAD
  gcloud compute tpus tpu-vm scp "$archive" "$name":pause_jax.tar.gz --zone="$zone" --worker=all
  everywhere 'mkdir -p pause_jax && tar -xzf pause_jax.tar.gz -C pause_jax && cd pause_jax &&
    python=$(launch/find_python.sh) && "$python" -m venv .venv && PYTHON=.venv/bin/python ACCELERATOR=tpu launch/docker/install.sh'
  ;;
start) # in the background, as the ssh connection may break; ends at once where it runs already
  everywhere "cd pause_jax && if [ -f train.pid ] && kill -0 \$(cat train.pid) 2>/dev/null; then
    echo 'it runs already' >&2; exit 2; fi
    nohup .venv/bin/python -m launch.train $(printf '%q ' "$@") >train.log 2>&1 </dev/null & echo \$! >train.pid"
  ;;
stop) # saves; "start" with the same arguments goes on
  everywhere 'cd pause_jax && kill -TERM $(cat train.pid)'
  ;;
*)
  echo "error: $action is neither install, start nor stop" >&2
  exit 2
  ;;
esac

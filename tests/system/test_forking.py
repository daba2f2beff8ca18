"""Processes forked from one that has imported for them: what they have, and that they end with whom they work for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil

PARENT = """
import os, sys, time
from pause_jax.system import forking

def show(preload, more):
    print(*(name in sys.modules for name in preload), os.environ.get("SPEED"), "PAUSE_JAX_PRELOAD" in os.environ)
    if more:
        forking.die_with_parent()
        print(os.getpid(), flush=True)
        time.sleep(600)

if __name__ == "__main__":
    preload = ("colorsys", "no_such_module", "netrc")
    for more in (False, True):
        process = forking.context(preload, {"SPEED": "5"}).Process(target=show, args=(preload, more))
        process.start()
        process.join()
    """


def test_they_have_what_was_asked_for_and_die_with_their_parent(tmp_path):
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        told = [parent.stdout.readline().split() for _ in range(3)]
        assert told[:2] == [["True", "False", "True", "5", "False"]] * 2
        worker = psutil.Process(int(told[2][0]))
        assert worker.parent().pid != parent.pid  # it is not the parent's own child, whose end would be told
        parent.send_signal(signal.SIGKILL)
    assert psutil.wait_procs([worker], timeout=10)[1] == [] or worker.status() == psutil.STATUS_ZOMBIE

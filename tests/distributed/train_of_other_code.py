"""launch.train as it would be in a checkout of another commit."""

import runpy

from pause_jax.system import code_version

if __name__ == "__main__":
    code_version.code_version = lambda: "another"
    runpy.run_module("launch.train", run_name="__main__", alter_sys=True)

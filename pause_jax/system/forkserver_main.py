"""The module that multiprocessing imports in its fork server (pause_jax/system/forking.py).

Naming a module is all that multiprocessing allows there, so this one acts when it is imported. It does so in that
process only, as `forking.context` sets an environment variable.
"""

from pause_jax.system import forking

forking.preload_modules()

"""What multiprocessing imports in the process that workers are forked from (pause_jax/system/forking.py).

The only thing it lets one do there is to name a module, so this one acts when it is imported: in that process alone, as
`forking.context` tells it by a variable of the environment.
"""

from pause_jax.system import forking

forking.preload_modules()

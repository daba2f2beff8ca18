"""What runs on an accelerator box without TensorFlow, SeqIO and ml_collections."""

from __future__ import annotations

import subprocess
import sys

BLOCKED = ["tensorflow", "tensorflow_text", "tensorflow_datasets", "seqio", "ml_collections"]
CODE = f"""
import importlib, pkgutil, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError("blocked: " + name)

sys.meta_path.insert(0, Block())
try:
    import seqio
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("seqio was imported all the same")

import pause_jax
ROOMS = "model", "training", "inference", "distributed", "interop", "report", "diagnostics", "checkpointing", "logging"
for part in ROOMS:
    package = importlib.import_module(f"pause_jax.{{part}}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
from pause_jax import config, network, pauses, trees

# and it runs: a resolved config, a step of training, an answer
import jax, jax.numpy as jnp, optax
from pause_jax.inference.decode import Decoding, generate
from pause_jax.network import Network
from pause_jax.config.model import ModelConfig
from pause_jax.training.step import make_train_step, new_state
from pause_jax.training.objective import CrossEntropy
from pause_jax.training.optimizer import make_optimizer

resolved = config.from_config_dict(config.to_dict(config.Config()))
model = ModelConfig(vocab_size=11, num_pause_tokens=1, num_layers=1, d_model=8, num_heads=2, d_ff=8, max_positions=16)
network = Network(model)
params = jax.jit(lambda: network.init(0))()
optimizer = make_optimizer(resolved.optimizer)
step = make_train_step(CrossEntropy(network.bind), optimizer, lambda count: 0.1, vocab_size=11, accumulation=1)
ones = jnp.ones((2, 4), jnp.int32)
batch = dict(inputs=ones, targets=ones, positions=ones, segment_ids=ones, loss_weights=jnp.ones((2, 4)))
state, metrics = jax.jit(step)(new_state(params, optimizer), batch)
words = generate(network, state["params"], [[1, 2]], 2, Decoding(max_new_tokens=3, eos_id=0))
print("loss", float(metrics["loss"]), words)
"""


def test_without_tensorflow_seqio_and_ml_collections():
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("loss ")

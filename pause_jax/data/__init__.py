"""From text to batches: the home of TensorFlow and SeqIO. Importing the package itself imports neither."""

from pause_jax.data import quick_imports

quick_imports.install()

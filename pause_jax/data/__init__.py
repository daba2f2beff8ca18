"""From text to batches. TensorFlow and SeqIO live here, in pause_jax/tasks and pause_jax/tokenizers; JAX does not."""

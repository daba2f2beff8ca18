"""Where a run's metrics go: metric writers and the progress line. Neither JAX nor TensorFlow."""

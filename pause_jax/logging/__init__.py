"""Where a run's metrics go: metric writers and the progress line. Imports neither JAX nor TensorFlow."""

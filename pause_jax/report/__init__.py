"""What a run tells people: metric files, the progress line, tables and plots. Imports neither jax nor TensorFlow."""

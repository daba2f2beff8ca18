"""From text to batches: the home of TensorFlow and SeqIO. Importing the package itself imports nothing."""

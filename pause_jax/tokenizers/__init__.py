"""Tokenizers, with TensorFlow (for SeqIO) and without (for programs that only restore a model)."""

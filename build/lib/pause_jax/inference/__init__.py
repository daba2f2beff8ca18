"""Answers from a trained model: prompt and pauses read at once, then token by token.

Runs without TensorFlow, SeqIO and ml_collections.
"""

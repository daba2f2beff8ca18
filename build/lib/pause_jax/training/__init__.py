"""Loss, optimizer, step and loop. Runs without TensorFlow, SeqIO and ml_collections."""

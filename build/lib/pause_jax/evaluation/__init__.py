"""How good a run is at its tasks: metrics as the official scripts compute them, and the evaluator."""

"""The method: where pauses go, their ids, which positions carry loss. Pure NumPy."""

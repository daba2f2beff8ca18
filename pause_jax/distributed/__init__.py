"""Mesh, sharding rules, processes, and the rows of this process. Model and data know nothing of it."""

"""Mesh, sharding rules, the rows of this process. What is network or data knows nothing of it."""

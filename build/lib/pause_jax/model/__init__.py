"""The decoder. Knows sizes, dtypes and arrays; nothing of meshes, runs or data."""

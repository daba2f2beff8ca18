"""Evaluates runs on tasks: answers at each M_inf, kept as they come, and their metrics."""

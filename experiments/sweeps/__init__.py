"""Sweeps: what is varied, and what each stage is."""

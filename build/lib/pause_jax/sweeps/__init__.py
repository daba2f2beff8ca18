"""Sweeps: a config of stages and axes becomes a graph of jobs, which workers run."""

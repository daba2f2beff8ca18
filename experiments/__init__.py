"""Configs, one file an experiment: `get_config` returns an ml_collections ConfigDict; the docstring has the command."""

"""Sweeps behind docs/when_pauses_help.md: one a question."""

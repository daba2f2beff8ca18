"""Sweeps behind docs/when_pauses_help.md: one a question."""

WIDER = {"d_model": 32, "num_heads": 4, "d_ff": 64}  # config.model's, for tasks that 16 are too narrow for

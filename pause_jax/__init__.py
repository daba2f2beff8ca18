"""pause_jax: pretrain, finetune and evaluate language models that think with pause tokens.

The method is Goyal et al., "Think before you speak", ICLR 2024 (arXiv 2310.02226).
Importing this package imports nothing else: each part is imported where it is used.
"""

__version__ = "0.2.0"

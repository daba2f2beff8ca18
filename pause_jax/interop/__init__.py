"""Models of other libraries: Hugging Face folders as runs and back, and lm-evaluation-harness."""

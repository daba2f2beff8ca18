"""What all programs share: flags, `--help`, exit codes, and the `pause-jax` command."""

"""What all programs share: flags, `--help`, errors in one sentence, exit codes; and the `pause-jax` command."""

"""`python -m pause_jax NAME ARGUMENTS` is `pause-jax NAME ARGUMENTS`, where the command is not in PATH."""

from pause_jax.command_line.command import main

if __name__ == "__main__":
    main()

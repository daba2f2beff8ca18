"""Exit codes of all programs; pause_jax/command_line/cli.py describes them."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_DEFECT = 1
EXIT_USER_ERROR = 2
EXIT_STOPPED_ITSELF = 3
EXIT_PEER_LOST = 4
EXIT_STOPPED = 75  # EX_TEMPFAIL of sysexits.h
EXIT_INTERRUPTED = 130
EXIT_NOT_READ = 141  # as shells have it of SIGPIPE: who read the output has gone

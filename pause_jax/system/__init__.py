"""This machine and this process: cores, memory, chips, file systems, worker processes."""

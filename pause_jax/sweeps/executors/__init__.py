"""Where a sweep's jobs run: this machine, SLURM, GKE."""

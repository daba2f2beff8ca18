"""What a run keeps on disk: its folder, Orbax checkpoints, checksums, locks."""

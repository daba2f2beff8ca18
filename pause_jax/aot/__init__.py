"""Compiling the training step without its devices: topologies, HLO reading, estimates, roofline."""

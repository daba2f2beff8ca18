"""Programs: `python -m launch.NAME --help` tells what each is for. What they share is in `cli.py`."""

"""Programs: `python -m launch.NAME --help` tells what each is for. Installed, they are `pause-jax NAME`.

They parse flags and make one call into pause_jax, which is all that they import; what they share is in
pause_jax/command_line/cli.py.
"""

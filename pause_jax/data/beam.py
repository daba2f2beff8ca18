"""Runs the units of a preparation on Apache Beam, with the runner and options that the user gives."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from pause_jax.data import prepare
from pause_jax.data.prepare import Unit
from pause_jax.errors import UserError


def run_units(units: Sequence[Unit], options: str) -> None:
    """Run units to their end on the runner that `options` name, as on a command line ("--runner=... --project=...").

    Each worker needs this package, and the same paths to the text, the tokenizer and the folder to be made.

    Raises:
      UserError: Beam is not installed, the options are not its, or what `prepare.run_unit` raises.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise UserError("--beam_options needs Apache Beam: pip install -r requirements-beam.txt") from error
    pipeline = beam.Pipeline(options=PipelineOptions(shlex.split(options)))
    # Reshuffled, or an engine would run all units in the one worker that made their list.
    pipeline | beam.Create(list(units)) | beam.Reshuffle() | beam.Map(_run)
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:  # the unit's own, or Beam's with the unit's in its message, as the runner has it
        found = re.search(r"(?:UserError|BadText): (.*)$", str(error), re.MULTILINE)
        if not isinstance(error, UserError) and not found:
            raise
        sentence = found[1] if found else str(error)
        raise UserError(sentence.partition(" [while running")[0]) from error


def _run(unit: Unit) -> None:
    prepare.run_unit(unit)

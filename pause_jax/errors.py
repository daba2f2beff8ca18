"""The one exception that stands for a mistake of the user's."""


class UserError(ValueError):
    """A user's mistake, in one sentence: what is wrong, where, the value found, what to do.

    Programs under `launch/` print the sentence and exit with code 2; everything else that is raised is
    a defect of ours and keeps its traceback.
    """


class RunStopped(RuntimeError):
    """A run ended itself to save what it has; one sentence says at which step and why."""


class PeerLost(RuntimeError):
    """Another process of this run is gone, so this one cannot go on; one sentence says what is known of it."""

"""Exceptions of this package, and parts of the sentences they carry.

`UserError` stands for a user's mistake; `RunStopped` and `PeerLost` end a run that did nothing wrong.
"""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 1000  # characters of a sentence: a path may be as long as the user likes


class UserError(ValueError):
    """A user's mistake, in one sentence: what is wrong, where, the value found, what to do.

    Programs under `launch/` print the sentence and exit with code 2; everything else that is raised is
    a defect of ours and keeps its traceback.
    """

    def __str__(self) -> str:
        """The sentence on one line: of what it quotes, characters that do not print are escaped, and a lot is cut."""
        text = super().__str__()
        if len(text) > _LONGEST:
            text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class RunStopped(RuntimeError):
    """A run ended itself to save what it has; one sentence says at which step and why."""


class PeerLost(RuntimeError):
    """Another process of this run is gone, so this one cannot go on; one sentence says what is known of it."""


def beginning(error: BaseException) -> str:
    """The first line of a library's error message, which may go on for pages; empty where there is none."""
    return str(error).split("\n")[0][:200]


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """How a sentence about an unknown name ends: ": did you mean NEAREST?", or "" where no known name is near."""
    import difflib  # only mistakes need it

    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f": did you mean {close[0]!r}?" if close else ""

"""A lock on a folder: one process writes to it at a time.

When its holder ends, however it ends, the kernel releases it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from pause_jax.errors import UserError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # errors of a file system without locks


@contextlib.contextmanager
def held(file: Path) -> Iterator[None]:
    """Hold the lock on `file`, which is made, with its folders, where it is missing, and never deleted.

    Raises:
      UserError: another process holds it, or the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        opened = file.open("ab", buffering=0)
    except OSError as error:
        raise UserError(f"{file.parent} cannot be written to ({error.strerror}): give another --workdir") from None
    with opened:
        _lock(opened.fileno(), file)
        with contextlib.suppress(OSError):  # a full disk; the text is only for the message of a second process
            opened.truncate(0)
            opened.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield


def _lock(number: int, file: Path) -> None:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = file.read_text(encoding="utf-8") or "a process that is just starting"
        raise UserError(
            f"{file.parent} is being written to by another run, {holder}: wait until it ends, or give another --workdir"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logging.warning("%s lies on a file system without locks: two runs at once would damage it", file.parent)

"""FUSE file systems, such as mounted buckets: some cannot rename folders, and hold appended bytes back.

On a flat bucket (gcsfuse, s3fs, mountpoint-s3, rclone, blobfuse; in GKE's pods the kind is "fuse" alone) a folder
cannot be renamed, and what was appended is in the bucket only after fsync or close. Other FUSE file systems can do
more, and take no harm from being treated like that.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

_TABLE = Path("/proc/self/mounts")


def is_fuse(path: Path, table: Path = _TABLE) -> bool:
    """Whether `path`, which need not be there yet, lies on such a file system; False without a table of mounts."""
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    real, found = Path(os.path.realpath(path)), (-1, "")
    for line in lines:
        _, mounted_on, kind, *_ = line.split(" ")
        folder = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mounted_on))  # \040 is a space
        if real.is_relative_to(folder) and len(folder.parts) >= found[0]:  # of two on one folder the later one is seen
            found = (len(folder.parts), kind)
    return found[1].split(".")[0] == "fuse"


def move_folder(source: Path, target: Path) -> None:
    """Rename a folder; where a FUSE file system cannot, copy it and delete the original. Raises OSError as `rename`."""
    try:
        source.rename(target)
    except OSError:
        if not is_fuse(target.parent):
            raise
        shutil.copytree(source, target)
        shutil.rmtree(source)

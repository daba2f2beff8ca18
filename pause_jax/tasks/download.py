"""Downloads official files from their public addresses: resumes broken transfers, checks files, puts them in place.

A file that is not whole yet lies beside its place as NAME.partial, where the same command finds it.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import posixpath
import socket
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pause_jax.errors import UserError
from pause_jax.logging.progress import Progress
from pause_jax.tasks import official
from pause_jax.tasks.official import File

_TRIES = 5  # connections in a row that bring no new byte, after which it gives up
_SECONDS = 60.0  # without a byte, after which a connection counts as broken
_CHUNK = 1 << 20

_OPENER = urllib.request.OpenerDirector()  # of http and https alone: no redirection leads to a file of this machine
for _handler in (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.UnknownHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
):
    _OPENER.add_handler(_handler())


def fetch_tasks(names: Sequence[str], data_dir: Path, sleep: Callable[[float], None] = time.sleep) -> list[Path]:
    """Fetches what is not there yet of the files of tasks, and checks all of them; returns what was fetched.

    A file is checked by its SHA-256, or where none is known by reading its examples and counting them.

    Args:
      names: of tasks in `official.known()`.

    Raises:
      UserError: a file cannot be fetched or written, or is not the published one; all others have been seen to.
    """
    files = {f.path: f for name in names for part in official.known()[name].files.values() for f in part}
    by_url: dict[str, list[File]] = {}
    for file in files.values():  # an archive has several
        by_url.setdefault(file.url, []).append(file)
    fetched: list[Path] = []
    mistakes = []
    for same_url in by_url.values():
        try:
            missing = [file for file in same_url if not _is_there(file, data_dir / file.path)]
            if missing:
                fetched += _fetch(missing, data_dir, sleep)
        except UserError as error:
            mistakes.append(str(error))
    if mistakes:
        raise UserError("; ".join(mistakes))
    for name in names:
        for split, part in official.known()[name].files.items():
            if not all(file.sha256 for file in part):
                official.examples(name, split, str(data_dir))
    return fetched


def _is_there(file: File, path: Path) -> bool:
    """Whether the file is at `path`, or gzipped beside it. Raises UserError where another file is there."""
    there = official.stored(path)
    if there is None:
        return False
    try:
        found = _sha256(there)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{there} cannot be read ({error}): move it away, and the same command fetches it") from None
    if file.sha256 not in ("", found):
        raise UserError(
            f"{there} is not the published file (SHA-256 {found[:12]}…, published {file.sha256[:12]}…): move it away, "
            f"and the same command fetches it from {file.url}"
        )
    return True


def _fetch(files: Sequence[File], data_dir: Path, sleep: Callable[[float], None]) -> list[Path]:
    """The files of one address: the file itself, or members of an archive."""
    url, paths = files[0].url, [data_dir / file.path for file in files]
    name = posixpath.basename(url) if files[0].member else paths[0].name
    partial = paths[0].with_name(f"{name}.partial")
    with _writing(partial):
        partial.parent.mkdir(parents=True, exist_ok=True)
    _receive_all(url, partial, f"put {' and '.join(map(str, paths))} there by hand (docs/tasks.md)", sleep)
    if files[0].member:
        _extract(files, data_dir, archive=partial)
        partial.unlink()
    else:
        _place(files[0], partial, paths[0])
    return paths


def _receive_all(url: str, partial: Path, by_hand: str, sleep: Callable[[float], None]) -> None:
    """Makes `partial` whole, in as many connections as it takes, as long as each brings something."""
    failures = 0
    while True:
        before = _size(partial)
        try:
            if _receive(url, partial):
                return
            problem = "the connection broke"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise UserError(
                    f"{url} cannot be had (HTTP status {error.code}, {' '.join(str(error.reason).split())}): its "
                    f"address may have changed; {by_hand}"
                ) from None
            problem = f"HTTP status {error.code}"
        except (OSError, http.client.HTTPException) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
            if isinstance(getattr(error, "reason", None), socket.gaierror):
                failures = _TRIES  # no network: there is nothing to wait for
        failures = 0 if _size(partial) > before else failures + 1
        if failures >= _TRIES:
            raise UserError(
                f"{url} cannot be reached ({problem}): run the same command again where there is a network, it goes on "
                f"where it stopped; or {by_hand}"
            )
        sleep(2.0**failures)


def _receive(url: str, partial: Path) -> bool:
    """Append what one connection sends of the rest; True where the file is then whole, as far as the server tells."""
    have = _size(partial)
    headers = {"User-Agent": "pause_jax", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the opener knows http and https alone
    try:
        response = _OPENER.open(request, timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return True
        partial.unlink()  # longer than the file: it is of another one
        return False
    with response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT  # else it sends all, whatever was asked
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else 0
        with _writing(partial):
            out = partial.open("ab" if resumed else "wb", buffering=0)
        progress = Progress(f"fetch {partial.stem}", _kilobytes(total), _kilobytes(have), unit="kB")
        with out, progress:
            while chunk := response.read1(_CHUNK):
                _write(out, chunk, partial)
                have += len(chunk)
                if total:
                    progress.update(_kilobytes(have), {})
    return not length or have == total


def _extract(files: Sequence[File], data_dir: Path, *, archive: Path) -> None:
    """Copies single members out of a tar archive, each to the place that `File.path` says, whatever its own name."""
    wanted = {file.member: file for file in files}
    try:
        with tarfile.open(archive, mode="r:gz") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                file = wanted.pop(posixpath.normpath(member.name), None) if content else None
                if content is None or file is None:
                    continue
                path = data_dir / file.path
                partial = path.with_name(f"{path.name}.partial")
                with _writing(partial):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    out = partial.open("wb", buffering=0)
                with out:
                    while chunk := content.read(_CHUNK):
                        _write(out, chunk, partial)
                _place(file, partial, path, archive)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        archive.unlink()
        raise UserError(
            f"what {files[0].url} sent is no whole tar.gz archive ({error}): it was removed; try again"
        ) from None
    if wanted:
        archive.unlink()
        raise UserError(
            f"the archive {files[0].url} has no file {', '.join(wanted)}: it is another version, and was removed"
        )


def _place(file: File, partial: Path, path: Path, *archive: Path) -> None:
    """Gives a whole file its name; removes it, and the archive that it is from, where it is not the published one."""
    found = _sha256(partial)
    if file.sha256 not in ("", found):
        for wrong in (partial, *archive):
            wrong.unlink()
        raise UserError(
            f"what {file.url} sent is not the published {file.path} (SHA-256 {found[:12]}…, published "
            f"{file.sha256[:12]}…): it was removed; run the same command again, or get the file by hand"
        )
    with _writing(path):
        partial.replace(path)


def _sha256(path: Path) -> str:
    """The SHA-256 of the content, unzipped."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]


def _kilobytes(size: int) -> int:
    return -(-size // 1000)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _write(out: Any, chunk: bytes, path: Path) -> None:
    view = memoryview(chunk)
    with _writing(path):
        while view:
            view = view[out.write(view) :]


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the disk into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): make room, or give another --data_dir; what was fetched is "
            "kept, and the same command goes on"
        ) from None

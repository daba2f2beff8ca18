"""Fetching from a server of ours: cut connections, servers without Range, wrong content, archives that mean harm."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import http.server
import io
import json
import os
import tarfile
import threading
from pathlib import Path

import pytest
import seqio

from pause_jax.data import prepare_corpus
from pause_jax.errors import UserError
from pause_jax.tasks import download, official
from pause_jax.tasks.official import Example, File

LINES = "".join(json.dumps({"q": f"question {i}", "a": str(i)}) + "\n" for i in range(3000)).encode()


@dataclasses.dataclass
class Server:
    """What it has, how it behaves, and what it was asked for."""

    url: str = ""
    content: dict[str, bytes] = dataclasses.field(default_factory=dict)
    cuts: list[int] = dataclasses.field(default_factory=list)  # bytes after which the next connections are cut
    statuses: list[int] = dataclasses.field(default_factory=list)  # of the next answers, in place of the content
    ranges: bool = True
    redirect: str = ""
    asked: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)  # path and Range


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: http.server.HTTPServer

    def do_GET(self):
        state: Server = self.server.state
        wanted = self.headers["Range"]
        state.asked.append((self.path, wanted))
        if state.redirect:
            return self.answer(302, Location=state.redirect)
        if state.statuses:
            return self.answer(state.statuses.pop(0))
        if self.path not in state.content:
            return self.answer(404)
        content = state.content[self.path]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and state.ranges else 0
        if start >= len(content):
            return self.answer(416, Content_Range=f"bytes */{len(content)}")
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = state.cuts.pop(0) if state.cuts else len(content)
        self.wfile.write(content[start : start + cut])
        self.close_connection = True

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in {"Content_Length": "0", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    state = Server()
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.state = state
    state.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    listening.shutdown()
    listening.server_close()
    thread.join()


def read(text):
    for number, record in text.json_lines():
        yield Example(f"{number}", record["q"], record["a"], (record["a"],), group=record["q"])


@pytest.fixture
def task():
    """Registers a task of given test files, called fetched."""
    with contextlib.ExitStack() as stack:

        def register(*files):
            if "fetched" not in official.known():
                stack.callback(seqio.TaskRegistry.remove, "fetched")
                stack.callback(official._SOURCES.pop, "fetched")
            else:
                seqio.TaskRegistry.remove("fetched")
            official.register("fetched", files={"test": files}, read=read, metric_fns=[])

        yield register


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fetch(folder: Path) -> list[str]:
    """What was fetched; every wait is remembered in `fetch.waits` in place of being waited for."""
    fetch.waits = []
    return [str(p.relative_to(folder)) for p in download.fetch_tasks(["fetched"], folder, sleep=fetch.waits.append)]


def files_in(folder: Path) -> set[str]:
    return {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}


def test_a_file_is_fetched_once_and_whole(server, task, tmp_path, capsys):
    server.content["/d/train.jsonl"] = LINES
    task(File("x/train.jsonl", f"{server.url}/d/train.jsonl", sha256(LINES), records=3000))
    assert fetch(tmp_path) == ["x/train.jsonl"]
    assert (tmp_path / "x/train.jsonl").read_bytes() == LINES
    assert files_in(tmp_path) == {"x/train.jsonl"} and fetch.waits == []
    size = -(-len(LINES) // 1000)
    assert f"fetch train.jsonl  {size}/{size}  100 %" in capsys.readouterr().out
    assert fetch(tmp_path) == [] and len(server.asked) == 1


def test_what_is_there_is_looked_at(server, task, tmp_path):
    task(File("train.jsonl", f"{server.url}/none", sha256(LINES)))
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(LINES))
    assert fetch(tmp_path) == [] and not server.asked
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(LINES[:-10]))
    with pytest.raises(UserError, match=r"train\.jsonl\.gz is not the published file .*: move it away, and the same"):
        fetch(tmp_path)
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(LINES)[:-100])
    with pytest.raises(UserError, match=r"train\.jsonl\.gz cannot be read"):
        fetch(tmp_path)


def test_without_a_checksum_the_examples_are_counted(server, task, tmp_path):
    server.content["/train.jsonl"] = LINES
    task(File("train.jsonl", f"{server.url}/train.jsonl", records=3000))
    assert fetch(tmp_path) == ["train.jsonl"]
    task(File("train.jsonl", f"{server.url}/train.jsonl", records=3001))
    official._read_all.cache_clear()
    with pytest.raises(UserError, match=r"has 3,000 examples, but the published file has 3,001"):
        fetch(tmp_path)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_connection_is_gone_on_with(server, task, tmp_path, ranges):
    """From where it broke, or from the start where the server sends all whatever it is asked."""
    server.content["/train.jsonl"], server.cuts, server.ranges = LINES, [1000, 5000], ranges
    task(File("train.jsonl", f"{server.url}/train.jsonl", sha256(LINES)))
    assert fetch(tmp_path) == ["train.jsonl"]
    assert (tmp_path / "train.jsonl").read_bytes() == LINES
    wanted = [None, "bytes=1000-", "bytes=6000-" if ranges else "bytes=5000-"]
    assert [asked for _, asked in server.asked] == wanted
    assert fetch.waits == [1.0, 1.0] and files_in(tmp_path) == {"train.jsonl"}


def test_the_same_command_goes_on_after_a_kill(server, task, tmp_path):
    server.content["/train.jsonl"] = LINES
    task(File("train.jsonl", f"{server.url}/train.jsonl", sha256(LINES)))
    partial = tmp_path / "train.jsonl.partial"
    for left in (LINES[:777], LINES, LINES + b"more"):  # the last is of another file
        partial.write_bytes(left)
        assert fetch(tmp_path) == ["train.jsonl"]
        assert (tmp_path / "train.jsonl").read_bytes() == LINES and not partial.exists()
        (tmp_path / "train.jsonl").unlink()
    assert [asked for _, asked in server.asked] == [
        "bytes=777-",
        f"bytes={len(LINES)}-",
        f"bytes={len(LINES) + 4}-",
        None,
    ]


def test_a_server_that_is_busy_is_asked_again_but_not_for_ever(server, task, tmp_path):
    server.content["/train.jsonl"], server.statuses = LINES, [503, 429, 500]
    task(File("train.jsonl", f"{server.url}/train.jsonl", sha256(LINES)))
    assert fetch(tmp_path) == ["train.jsonl"] and fetch.waits == [2.0, 4.0, 8.0]
    (tmp_path / "train.jsonl").unlink()
    server.cuts = [2000] + 9 * [0]
    with pytest.raises(UserError, match=r"cannot be reached \(the connection broke\): run the same command again"):
        fetch(tmp_path)
    assert (tmp_path / "train.jsonl.partial").read_bytes() == LINES[:2000] and len(fetch.waits) == 5


def test_wrong_content_is_removed(server, task, tmp_path):
    server.content["/train.jsonl"] = LINES[:-1] + b" "
    task(File("train.jsonl", f"{server.url}/train.jsonl", sha256(LINES)))
    with pytest.raises(UserError, match=r"sent is not the published train\.jsonl \(SHA-256 .*\): it was removed"):
        fetch(tmp_path)
    assert files_in(tmp_path) == set()


def test_one_that_is_not_there_keeps_none_of_the_others_away(server, task, tmp_path):
    server.content["/b"] = LINES
    task(File("a", f"{server.url}/a", sha256(LINES)), File("b", f"{server.url}/b", sha256(LINES)))
    sentence = r"/a cannot be had \(HTTP status 404, Not Found\): its address may have changed; put .*a there by hand"
    with pytest.raises(UserError, match=sentence):
        fetch(tmp_path)
    assert files_in(tmp_path) == {"b"} and [path for path, _ in server.asked] == ["/a", "/b"]


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_no_redirection_leaves_http(server, task, tmp_path, place):
    server.redirect = place
    task(File("a", f"{server.url}/a"))
    with pytest.raises(UserError, match=r"/a cannot be (had|reached) \("):
        fetch(tmp_path)
    assert not any((tmp_path / name).exists() for name in ("a", "a.partial"))
    task(File("a", place))
    with pytest.raises(UserError, match=r"cannot be reached \(unknown url type"):
        fetch(tmp_path)


def test_no_network(task, tmp_path):
    task(File("a", "http://no-such-host.invalid/a"))
    with pytest.raises(UserError, match=r"no-such-host\.invalid/a cannot be reached \(.*where there is a network"):
        fetch(tmp_path)
    assert fetch.waits == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no disk that is always full")
def test_a_full_disk(server, task, tmp_path):
    server.content["/a"] = LINES
    task(File("a", f"{server.url}/a", sha256(LINES)))
    (tmp_path / "a.partial").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"a\.partial cannot be written \(No space left on device\): make room"):
        fetch(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        fetch(tmp_path / "file")


def archive(**members: bytes | str) -> bytes:
    """A tar.gz; a str is what a symbolic link points to. In names, `__` is a slash and `_up_` two dots."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("_up_", "..").replace("__", "/"))
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def test_members_of_an_archive_fetched_once(server, task, tmp_path):
    evil = {"_up___evil": b"evil", "__tmp__evil_of_pause_jax": b"evil"}
    server.content["/all.tar.gz"] = archive(dev=LINES, d__other=b"no", **evil, test=LINES[:500])
    url = f"{server.url}/all.tar.gz"
    dev = File("l/dev.txt", url, sha256(LINES), member="dev")
    task(dev, File("l/test.original.txt", url, sha256(LINES[:500]), member="test"))
    server.cuts = [100]
    folder = tmp_path / "data"
    assert fetch(folder) == ["l/dev.txt", "l/test.original.txt"]
    assert (folder / "l/dev.txt").read_bytes() == LINES and (folder / "l/test.original.txt").read_bytes() == LINES[:500]
    assert files_in(tmp_path) == {"data/l/dev.txt", "data/l/test.original.txt"}
    assert not Path("/tmp/evil_of_pause_jax").exists() and len(server.asked) == 2
    (folder / "l/dev.txt").unlink()
    assert fetch(folder) == ["l/dev.txt"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (archive(other=b"x"), r"has no file dev: it is another version, and was removed"),
        (archive(dev="/etc/passwd"), r"has no file dev"),
        (archive(d__dev=LINES), r"has no file dev"),
        (archive(dev=b"another"), r"is not the published dev\.txt .*: it was removed"),
        (archive(dev=LINES)[:-2000], r"is no whole tar\.gz archive .*: it was removed"),
        (b"<html>an error page</html>", r"is no whole tar\.gz archive .*: it was removed"),
    ],
)
def test_archives_that_will_not_do(server, task, tmp_path, content, sentence):
    server.content["/all.tar.gz"] = content
    task(File("dev.txt", f"{server.url}/all.tar.gz", sha256(LINES), member="dev"))
    with pytest.raises(UserError, match=sentence):
        fetch(tmp_path)
    assert files_in(tmp_path) <= {"dev.txt.partial"}


def test_the_program(server, task, tmp_path, capsys):
    server.content["/train.jsonl"] = LINES
    task(File("train.jsonl", f"{server.url}/train.jsonl", sha256(LINES)))
    prepare_corpus.download(["fetched", "fetched"], str(tmp_path))
    assert f"1 files fetched; the files of fetched are whole and as published: {tmp_path}" in capsys.readouterr().out
    with pytest.raises(
        UserError, match=r"--download=gsm9k: there is no such task with official files; known are gsm8k"
    ):
        prepare_corpus.download(["gsm9k"], str(tmp_path))
    with pytest.raises(UserError, match=r"--download=: there is no such task"):
        prepare_corpus.download([], str(tmp_path))
    with pytest.raises(UserError, match=r"--data_dir is missing"):
        prepare_corpus.download(["gsm8k"], None)

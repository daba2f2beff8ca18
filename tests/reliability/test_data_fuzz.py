"""Broken data: every reader gives what is whole, counts what it leaves out, or says in one sentence what is wrong."""

from __future__ import annotations

import copy
import dataclasses
import gzip
import io
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from pause_jax import config as configs
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, DataConfig
from pause_jax.data import documents, prepare, shards, splits
from pause_jax.data.shards import PreparedStream, TokenizedDocuments
from pause_jax.errors import UserError
from pause_jax.logging.writers import JsonLinesWriter, read_jsonl
from pause_jax.report.results import COLUMNS, Result, add_results, read_results
from pause_jax.tokenizers import tokenizer
from tests.report.result_rows import row

EXAMPLES = 100  # of each kind of damage
ODD_TEXTS = [
    "",
    " ",
    "\0",
    "a\0b",
    "\u2028",
    "a\u0301\u0301",
    "\u202e",
    "\ufeff",
    "\ufffe",
    "\U0010ffff",
    "\r\n",
    "\x85",
    "\x1b[2J",
    "e" * 3_000_000,
    "\u0301" * 10_000,
]
TEXT = st.sampled_from(ODD_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)
DEEP = b"[" * 200_000
LONG_NUMBER = b'{"text": ' + b"9" * 5000 + b"}"
BROKEN = [
    DEEP,
    b'{"text": ' + DEEP,
    LONG_NUMBER,
    b'{"text": "\\ud800"}',
    b'{"text": "a',
    b"\xff",
    b"\0",
    b"{}{}",
    b'{"text": "\xc3"}',
    b"\xfe\xff\0{",
    b"{'text': 'a'}",
]


def is_bad(line: bytes) -> bool:
    """Whether a line is left out on request: no UTF-8, no JSON, or text with half a surrogate pair."""
    try:
        content = line.decode().removeprefix("\ufeff")
        record = json.loads(content) if content.strip() else {}
        if isinstance(record, dict) and isinstance(record.get("text"), str):
            record["text"].encode()
        return False
    except (ValueError, RecursionError):
        return True


GOOD_LINES = TEXT.map(lambda text: json.dumps({"text": text}, ensure_ascii=len(text) % 2 == 0).encode())
BAD_LINES = st.sampled_from(BROKEN) | st.binary(max_size=10).filter(lambda line: b"\n" not in line and is_bad(line))
OTHER_LINES = JSON_VALUES.map(lambda value: json.dumps(value).encode()) | st.sampled_from([b"NaN", b'{"text": NaN}'])


def assert_one_sentence(error: UserError, *, names: str = "") -> None:
    assert str(error).isprintable() and names in str(error), error


def damaged(content: bytes, draw: Callable[..., Any]) -> bytes:
    """Some bytes flipped, cut off or put in."""
    kind = draw(st.sampled_from(["flip", "cut", "insert", "replace"]))
    at = int(draw(st.floats(0, 1, exclude_max=True)) * len(content))  # how long it is may depend on the machine
    if kind == "flip" and content:
        return content[:at] + bytes([content[at] ^ 1 << draw(st.integers(0, 7))]) + content[at + 1 :]
    if kind == "cut":
        return content[:at]
    junk = draw(st.binary(min_size=1, max_size=20))
    return junk if kind == "replace" else content[:at] + junk + content[at:]


def changed(content: Any, draw: Callable[..., Any]) -> Any:
    """JSON with one value in it, at any depth, replaced by another or left out."""
    tree = copy.deepcopy(content)
    node, path = tree, []
    while isinstance(node, (dict, list)) and node and (not path or draw(st.booleans())):
        key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        path.append((node, key))
        node = node[key]
    if not path or draw(st.integers(0, 9)) == 0:
        return draw(JSON_VALUES)
    parent, key = path[-1]
    if draw(st.booleans()):
        del parent[key]
    else:
        parent[key] = draw(JSON_VALUES)
    return tree


# --- Text


@settings(max_examples=EXAMPLES)
@given(st.lists(GOOD_LINES | BAD_LINES, max_size=6), st.booleans())
def test_bad_lines_are_told_of_or_left_out_and_counted(lines, zipped):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.jsonl.gz" if zipped else "a.jsonl")
        content = b"\n".join(lines)
        file.write_bytes(gzip.compress(content, compresslevel=1) if zipped else content)
        (piece,) = documents.list_files(str(file))
        bad: list[documents.BadText] = []
        found = list(documents.read_piece(piece, "text", on_bad=bad.append))
        assert len(bad) == sum(map(is_bad, lines))
        assert [d.text.decode() for d in found] == [json.loads(line)["text"] for line in lines if not is_bad(line)]
        for error in bad:
            assert_one_sentence(error, names=str(file))
        if bad:
            with pytest.raises(UserError):
                list(documents.read_files(str(file), "text"))


@settings(max_examples=EXAMPLES)
@given(st.lists(OTHER_LINES | GOOD_LINES | BAD_LINES, min_size=1, max_size=4), st.booleans())
def test_any_line_is_read_or_named(lines, skip_bad):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.jsonl")
        file.write_bytes(b"\n".join(lines))
        for read in (
            lambda: list(documents.read_files(str(file), "text")),
            lambda: splits.plan_files(DataConfig(files=str(file)), skip_bad=skip_bad),
        ):
            try:
                read()
            except UserError as error:
                assert_one_sentence(error, names=str(file))


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=200) | TEXT.map(str.encode), st.sampled_from([".txt", ".txt.gz", ".jsonl.gz", ".json"]))
def test_any_file_is_read_or_named(content, suffix):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"a{suffix}")
        file.write_bytes(content)
        try:
            found = list(documents.read_files(str(file), "text"))
            assert suffix != ".txt" or [d.text for d in found] == [content.removeprefix(b"\xef\xbb\xbf")] * bool(found)
        except UserError as error:
            assert_one_sentence(error, names=str(file))


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_damaged_gzip_is_named(data):
    text = json.dumps({"text": "some text"}).encode() + b"\n"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.jsonl.gz")
        file.write_bytes(damaged(gzip.compress(text * 20, mtime=0), data.draw))
        try:
            assert len(list(documents.read_files(str(file), "text"))) <= 20
        except UserError as error:
            assert_one_sentence(error, names=str(file))


# --- Prepared folders


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A folder of two splits of two small shards each."""
    folder = tmp_path_factory.mktemp("prepared")
    rng = np.random.default_rng(0)
    by_split = {}
    for split in splits.SPLITS:
        made = []
        for index in range(2):
            batch = TokenizedDocuments(rng.integers(0, 259, 100).astype(np.int32), np.array([40, 60]), 98)
            made.append(shards.write_shard(shards.shard_file(folder, split, index), [batch], np.uint16))
            shards.write_sidecar(shards.shard_file(folder, split, index), made[-1])
        by_split[split] = {
            **shards.summary(made),
            "blank": 0,
            "bad": 0,
            "shards": [dataclasses.asdict(s) for s in made],
        }
    manifest = {
        "format": shards.FORMAT,
        "task": "files",
        "vocabulary": "byte-259",
        "token_type": "uint16",
        "record_tokens": shards.RECORD_TOKENS,
        "splits": by_split,
    }
    shards.write_record(folder / "manifest.json", manifest)
    return folder


def read_all(folder: Path) -> list[int]:
    manifest = shards.read_manifest(folder)
    streams = [PreparedStream(folder, split, manifest) for split in splits.SPLITS]
    return [int(token) for stream in streams for token in stream.slice(0, stream.num_tokens)[0]]


def with_file(folder: Path, name: str, content: bytes, use: Callable[[Path], Any]) -> Any:
    """What `use` makes of the folder while one of its files has this content; None where it is a sentence."""
    file = folder / name
    before = file.read_bytes()
    try:
        file.write_bytes(content)
        return use(folder)
    except UserError as error:
        assert_one_sentence(error, names=str(folder))
        return None
    finally:
        file.write_bytes(before)


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_a_damaged_shard_is_named_or_reads_as_before(prepared, data):
    """Damage of the same size is for ArrayRecord's checksums to find; `--verify` finds all."""
    content = (prepared / "train/00001.array_record").read_bytes()
    broken = damaged(content, data.draw)
    assert with_file(prepared, "train/00001.array_record", broken, read_all) in (None, read_all(prepared))
    if broken != content:
        assert with_file(prepared, "train/00001.array_record", broken, prepare.verify) is None


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_a_shard_of_odd_records_is_named(prepared, data):
    """Records that ArrayRecord finds whole: other lengths, numbers of documents, types."""
    from array_record.python import array_record_module

    record = data.draw(st.binary(max_size=12) | st.sampled_from([b"\xff" * 300, b"\0" * 204, b"\1\0\0\0" * 60]))
    with tempfile.TemporaryDirectory() as folder:
        writer = array_record_module.ArrayRecordWriter(f"{folder}/x", "group_size:1,uncompressed")
        writer.write(record)
        writer.close()
        content = Path(folder, "x").read_bytes()
    manifest = shards.read_manifest(prepared)
    manifest["splits"]["train"]["shards"][0]["file_bytes"] = len(content)

    def read(folder: Path) -> Any:
        tokens, document = PreparedStream(folder, "train", manifest).slice(0, 200)
        return len(tokens), bool((np.diff(document) >= 0).all())

    assert with_file(prepared, "train/00000.array_record", content, read) in (None, (200, True))


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_a_manifest_of_other_content_is_named_or_reads_as_before(prepared, data):
    manifest = json.loads((prepared / "manifest.json").read_text())
    content = json.dumps(changed(manifest, data.draw)).encode()
    assert with_file(prepared, "manifest.json", content, read_all) in (None, read_all(prepared))
    with_file(prepared, "manifest.json", content, prepare.verify)


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_a_damaged_manifest_is_named(prepared, data):
    content = damaged((prepared / "manifest.json").read_bytes(), data.draw)
    with_file(prepared, "manifest.json", content, read_all)


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_a_sidecar_of_other_content_is_no_shard(prepared, data):
    sidecar = prepared / "train/00000.json"
    content = json.dumps(changed(json.loads(sidecar.read_text()), data.draw)).encode()
    file = shards.shard_file(prepared, "train", 0)
    found = with_file(prepared, "train/00000.json", content, lambda _: shards.find_shard(file))
    assert found is None or all(isinstance(value, (int, str, list, tuple)) for value in dataclasses.astuple(found))


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_a_plan_of_other_content_is_named_or_used(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("plan")
    (folder / "a.jsonl").write_text('{"text": "abc"}\n{"text": "def"}\n')
    corpus = DataConfig(files=str(folder / "a.jsonl"))
    source = prepare.Source("files", "byte-259", "uint16", None)

    def scan(files: Sequence[documents.Piece]) -> dict[documents.Piece, splits.Scan]:
        return {file: splits.scan_file(file, "text") for file in files}

    def begin() -> list[prepare.Unit]:
        return prepare.begin(folder / "out", corpus, source, scan, skip_bad=False)

    begin()
    plan = folder / "out" / "plan.json"
    whole = json.loads(plan.read_text())
    if data.draw(st.booleans()):
        plan.write_text(json.dumps(changed(whole, data.draw)))
    else:
        plan.write_bytes(damaged(plan.read_bytes(), data.draw))
    for use in (begin, lambda: prepare.finish(folder / "out", [])):
        try:
            use()
        except UserError as error:
            assert_one_sentence(error, names=str(folder / "out"))


# --- Tokenizers


@pytest.fixture(scope="module")
def model() -> bytes:
    """A SentencePiece model of a few pieces."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["some text for a few pieces", "and some more"] * 20),
        model_writer=written,
        vocab_size=40,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
        hard_vocab_limit=False,
    )
    return written.getvalue()


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_a_damaged_tokenizer_is_named_or_works(model, tmp_path_factory, data):
    file = tmp_path_factory.mktemp("tokenizer") / "words.model"
    file.write_bytes(data.draw(st.sampled_from([b"", b"\0" * 9, b"\x08\x01" * 9])) or damaged(model, data.draw))
    try:
        words = tokenizer.load(str(file))
        assert all(0 <= i < words.size for i in words.encode("some te\0xt\u2028 \U0001f600"))
        words.decode(range(words.size))
    except UserError as error:
        assert_one_sentence(error, names=str(file))


@pytest.mark.slow
def test_the_pipeline_counts_what_it_leaves_out_and_keeps_odd_text(tmp_path, model):
    """Through SeqIO and TensorFlow: each document's bytes come out as they went in."""
    from pause_jax.data import corpora
    from pause_jax.data import streams as streams_lib
    from pause_jax.tokenizers import vocabularies

    texts = [text for text in ODD_TEXTS if text.encode().strip()]  # of ASCII's white space alone is blank
    lines = [*(json.dumps({"text": text}).encode() for text in ODD_TEXTS), *BROKEN]
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\n".join(lines))
    data = DataConfig(files=str(file), validation_files=str(file))
    task = corpora.text_task(data, vocabularies.load("byte"), skip_bad=True)
    read = list(streams_lib.tokenize(task, "train", 0, 1))
    tokens = [document for batch in read for document in np.split(batch.tokens, np.cumsum(batch.lengths)[:-1])]
    assert [bytes((ids[:-1] - 3).tolist()).decode() for ids in tokens] == texts
    assert task.source.left_out == {"blank": len(ODD_TEXTS) - len(texts), "bad": len(BROKEN)}
    for content in (b"", b"garbage"):
        (tmp_path / "words.model").write_bytes(content)
        with pytest.raises(UserError, match="is not a SentencePiece model"):
            vocabularies.load(str(tmp_path / "words.model"))


# --- Records of runs


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_a_record_of_a_run_is_read_or_named(tmp_path_factory, data):
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.claim(Config(), {"vocabulary": "byte-259"})
    file = folder.path / "config.json"
    if data.draw(st.booleans()):
        file.write_text(json.dumps(changed(json.loads(file.read_text()), data.draw)))
    else:
        file.write_bytes(damaged(file.read_bytes(), data.draw))
    try:
        assert configs.from_config_dict(configs.to_dict(folder.config())) == folder.config()
    except UserError as error:
        assert_one_sentence(error)


LINE = st.sampled_from(
    [
        b'{"step": 1, "loss": 2.0}',
        b'{"step": 2, "loss": null}',
        b'{"step": "3"}',
        b'{"step": 1.5}',
        b'{"step": NaN}',
        b'{"step": [1]}',
        b"{}",
        b"[1]",
        b"",
        DEEP,
        LONG_NUMBER,
    ]
)


@settings(max_examples=EXAMPLES)
@given(st.lists(LINE | st.binary(max_size=10), max_size=5), st.booleans())
def test_metrics_are_read_or_named_and_gone_on_with(tmp_path_factory, lines, torn):
    file = tmp_path_factory.mktemp("metrics") / "metrics.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n" * (not torn))
    try:
        assert all(isinstance(record, dict) for record in read_jsonl(file))
    except UserError as error:
        assert_one_sentence(error, names=str(file))
    writer = JsonLinesWriter(file, resume_step=1)
    writer.write(2, {"loss": math.nan})
    writer.close()
    assert file.read_bytes().splitlines()[-1] == b'{"step": 2, "loss": null}'


CSV_VALUE = st.sampled_from(
    ["", "nan", "inf", "-1", "1e400", "9" * 5000, "1_000", "\u0663", "\0", '"', "\n", "=1+1", "x" * 200_000, "a,b"]
)


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_results_are_read_or_named(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("results") / "results.csv"
    add_results(file, [row(), row(seed=1)])
    kind = data.draw(st.sampled_from(["value", "bytes"]))
    if kind == "value":
        name = data.draw(st.sampled_from(COLUMNS))
        lines = file.read_text().splitlines()
        values = lines[1].split(",")
        values[COLUMNS.index(name)] = data.draw(CSV_VALUE)
        lines[1] = ",".join(values)
        file.write_text("\n".join(lines) + "\n")
    else:
        file.write_bytes(damaged(file.read_bytes(), data.draw))
    try:
        found = read_results(file)
        assert all(isinstance(result, Result) for result in found)
    except UserError as error:
        assert_one_sentence(error, names=str(file))

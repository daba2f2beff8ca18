"""Token streams on disk: the same as in memory, and one sentence for each way in which a shard can be spoilt."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pause_jax.config import DataConfig
from pause_jax.data import pretraining, shards
from pause_jax.data.blocks import Mixture
from pause_jax.data.shards import PreparedStream, TokenizedDocuments
from pause_jax.data.streams import TokenStream
from pause_jax.errors import UserError
from tests.data.configs import config_of

LENGTHS = st.lists(st.lists(st.integers(1, 40), max_size=6), min_size=1, max_size=5)  # of the documents of each shard


def write_folder(folder: Path, lengths, *, vocab_size=300):
    """A prepared folder of random tokens, and the same in memory."""
    rng = np.random.default_rng(0)
    dtype = shards.token_dtype(vocab_size)
    batches, made = [], []
    for index, of_shard in enumerate(lengths):
        tokens = rng.integers(0, vocab_size, sum(of_shard)).astype(np.int32)
        batches.append(TokenizedDocuments(tokens, np.array(of_shard, np.int64), 3 * sum(of_shard)))
        file = shards.shard_file(folder, "train", index)
        cut = len(of_shard) // 2
        at = sum(of_shard[:cut])
        parts = [
            TokenizedDocuments(tokens[:at], np.array(of_shard[:cut], np.int64), 0),
            TokenizedDocuments(tokens[at:], np.array(of_shard[cut:], np.int64), 3 * len(tokens)),
        ]
        made.append(shards.write_shard(file, parts, dtype))
        shards.write_sidecar(file, made[-1])
    split = {**shards.summary(made), "shards": [dataclasses.asdict(shard) for shard in made]}
    manifest = {"token_type": dtype.__name__, "splits": {"train": split}}
    lengths_D = np.concatenate([batch.lengths for batch in batches])
    starts = np.cumsum(lengths_D) - lengths_D
    tokens = np.concatenate([batch.tokens for batch in batches])
    return manifest, TokenStream(tokens.astype(dtype), starts, 3 * len(tokens), "")


def assert_same_slice(prepared, memory, start, stop):
    (tokens, documents), (expected, numbers) = prepared.slice(start, stop), memory.slice(start, stop)
    assert tokens.dtype == documents.dtype == np.int32
    assert tokens.tolist() == expected.tolist()
    assert documents.tolist() == (numbers - numbers[:1]).tolist()


@settings(max_examples=40)
@given(LENGTHS, st.sampled_from([300, 2**16, 2**16 + 1]))
def test_every_slice_is_that_of_the_stream_in_memory(lengths, vocab_size):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "RECORD_TOKENS", 8)
        manifest, memory = write_folder(Path(folder), lengths, vocab_size=vocab_size)
        prepared = PreparedStream(Path(folder), "train", manifest)
        assert prepared.num_tokens == memory.num_tokens
        assert prepared.manifest()["documents"] == len(memory.starts)
        assert prepared.manifest()["text_bytes"] == memory.text_bytes
        for start in range(0, memory.num_tokens, 3):
            for length in (0, 1, 8, 17, memory.num_tokens):
                assert_same_slice(prepared, memory, start, min(start + length, memory.num_tokens))


def test_real_record_size_and_few_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "OPEN_SHARDS", 2)
    manifest, memory = write_folder(tmp_path, [[9000, 1, 20_000], [], [5], [8192], [3, 40_000]])
    prepared = PreparedStream(tmp_path, "train", manifest)
    starts = np.random.default_rng(1).integers(0, memory.num_tokens - 2049, 200).tolist()
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda start: assert_same_slice(prepared, memory, start, start + 2049), starts))
    assert_same_slice(prepared, memory, 0, memory.num_tokens)


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def test_a_missing_or_short_shard_is_named_when_the_folder_is_opened(tmp_path):
    manifest, _ = write_folder(tmp_path, [[100], [200]])
    file = shards.shard_file(tmp_path, "train", 1)
    content = file.read_bytes()
    file.write_bytes(content[:-7])
    with pytest.raises(UserError, match=rf"00001\.array_record is damaged \(it has {len(content) - 7} bytes, not"):
        PreparedStream(tmp_path, "train", manifest)
    file.unlink()
    with pytest.raises(UserError, match=r"00001\.array_record is damaged \(it is missing\): delete it, then prepare"):
        PreparedStream(tmp_path, "train", manifest)


def test_flipped_bytes_are_never_read_as_text(tmp_path):
    manifest, memory = write_folder(tmp_path, [[5000] * 20])
    file = shards.shard_file(tmp_path, "train", 0)
    content, told = file.read_bytes(), 0
    for at in np.random.default_rng(2).integers(0, len(content), 60).tolist():
        file.write_bytes(flip(content, at))
        try:
            tokens, _ = PreparedStream(tmp_path, "train", manifest).slice(0, memory.num_tokens)
            assert (tokens == memory.tokens).all()  # the byte was padding
        except UserError as error:
            assert f"{file} is damaged (" in str(error) and "\n" not in str(error)
            told += 1
    assert told > 20


def test_another_shard_of_the_same_size(tmp_path):
    manifest, _ = write_folder(tmp_path, [[9000], [8500]])
    one, two = (shards.shard_file(tmp_path, "train", index) for index in (0, 1))
    assert one.stat().st_size == two.stat().st_size
    two.write_bytes(one.read_bytes())
    with pytest.raises(UserError, match=r"00001\.array_record is damaged \(record 1 has 808 tokens\)"):
        PreparedStream(tmp_path, "train", manifest).slice(9000, 17_500)


def test_counts_that_disagree(tmp_path):
    manifest, _ = write_folder(tmp_path, [[100]])
    manifest["splits"]["train"]["text_tokens"] += 1
    with pytest.raises(
        UserError, match=r"manifest\.json cannot be used \(it contradicts itself: train is not the sum of its shards"
    ):
        PreparedStream(tmp_path, "train", manifest)


def test_damage_found_while_training_reaches_the_user_as_one_sentence(tmp_path):
    manifest, memory = write_folder(tmp_path, [[9000] * 4])
    file = shards.shard_file(tmp_path, "train", 0)
    file.write_bytes(flip(file.read_bytes(), 40_000))
    config = config_of(data=DataConfig(length=memory.num_tokens // 2), vocab_size=300, batch_size=2)
    mixture = Mixture([PreparedStream(tmp_path, "train", manifest)], [1.0])
    batches = pretraining.train_batches(mixture, config, [0, 1])
    with pytest.raises(UserError, match=r"^\S*00000\.array_record is damaged \(.*which makes only what is missing$"):
        next(batches)


def test_no_manifest(tmp_path):
    with pytest.raises(UserError, match=r"is not prepared: it has no manifest\.json, make it with python -m pause_jax"):
        shards.read_manifest(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(UserError, match="its preparation was not finished, run the same"):
        shards.read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json cannot be used \(Expecting property name"):
        shards.read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 1, "record_tokens": 4096}')
    with pytest.raises(
        UserError, match=r"manifest\.json cannot be used \(its format is not 1, of 8192 tokens a record"
    ):
        shards.read_manifest(tmp_path)


def test_a_shard_is_whole_when_its_sidecar_agrees(tmp_path):
    write_folder(tmp_path, [[100]])
    file = shards.shard_file(tmp_path, "train", 0)
    assert shards.find_shard(file).text_tokens == 100
    sidecar = file.with_suffix(".json").read_text()
    for spoilt in ("", "{}", sidecar[:-5], json.dumps({**json.loads(sidecar), "file_bytes": 1})):
        file.with_suffix(".json").write_text(spoilt)
        assert shards.find_shard(file) is None


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk takes root's rights")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_nothing_behind(small_disk):
    tokens = np.zeros(2_000_000, np.int32)
    file = shards.shard_file(small_disk, "train", 0)
    with pytest.raises(UserError, match=r"00000\.array_record cannot be written \(.*No space left on device\)"):
        shards.write_shard(file, [TokenizedDocuments(tokens, np.array([len(tokens)]), 0)], np.uint16)
    assert list(file.parent.iterdir()) == []


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "train").write_text("a file where a folder must be")
    file = shards.shard_file(tmp_path, "train", 0)
    with pytest.raises(UserError, match=r"00000\.array_record cannot be written \(File exists\)"):
        shards.write_shard(file, [], np.uint16)
    with pytest.raises(UserError, match=r"plan\.json cannot be written"):
        shards.write_record(tmp_path / "train" / "plan.json", {})

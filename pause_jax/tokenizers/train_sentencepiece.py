"""Trains a SentencePiece tokenizer on a corpus: the same text gives the same model on every machine."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import sentencepiece
import seqio

from pause_jax.config import DataConfig
from pause_jax.data import corpora
from pause_jax.data.tf_utils import keep_off_accelerators, without_autograph
from pause_jax.errors import UserError

SAMPLE_BYTES = 50_000_000  # of text; 32,000 pieces of it take about 2 GB of memory
_MOST_SHARDS = 100  # shards of a corpus, evenly spaced, that the sample is taken from
_MOST_CHARACTERS = 4000  # a longer line is cut: the trainer would drop it
_THREADS = 8  # sums of floats depend on it, so it isn't the number of cores


def train(data: DataConfig, size: int) -> bytes:
    """A unigram model of `size` pieces, trained on a sample of the training text.

    Ids are T5's: padding 0, end of sentence 1, unknown 2. Characters without a piece become bytes, newlines among them,
    and text is not normalized: decoding gives back what was encoded.

    Raises:
      UserError: the text is too small for so many pieces, or see `corpora.text_task`.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sample(data),
            model_writer=model,
            vocab_size=size,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            max_sentence_length=4 * _MOST_CHARACTERS,
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:  # its message starts with a place in C++
        reason = str(error).strip().rpartition("] ")[2]
        raise UserError(f"--train_sentencepiece={size} does not fit the text: {reason}") from error
    return model.getvalue()


def sample(data: DataConfig) -> Iterator[str]:
    """Lines of the training text, up to `SAMPLE_BYTES`, from the beginnings of its shards."""
    keep_off_accelerators()
    task = corpora.text_task(data, seqio.ByteVocabulary(extra_ids=0))
    num_shards = len(task.source.list_shards("train"))
    chosen = np.unique(np.linspace(0, num_shards - 1, _MOST_SHARDS).astype(int)).tolist()
    for shard in chosen:
        left = SAMPLE_BYTES // len(chosen)
        examples = without_autograph(task.get_dataset)(
            sequence_length=None, split="train", shuffle=False, shard_info=seqio.ShardInfo(shard, num_shards)
        )
        for example in examples.as_numpy_iterator():
            text = example["targets_pretokenized"][:left]
            left -= len(text)
            yield from _lines(text.decode(errors="ignore"))  # the last character may have been cut
            if left <= 0:
                break


def _lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield from (line[at : at + _MOST_CHARACTERS] for at in range(0, len(line), _MOST_CHARACTERS))

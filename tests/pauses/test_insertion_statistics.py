"""Insertion into a million positions of Wikipedia, through the pipeline of training: counts, places, text, policies.

Seeds are fixed, so these tests pass or fail for ever. A probability below 1e-4 counts as a failure; each check of a
distribution is also shown a sampler that is wrong, and must see it.

Shapes: R rows of L positions, S slots of a block.
"""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from scipy import stats

from pause_jax.config import DataConfig, PauseConfig
from pause_jax.data.pretraining import open_corpus, validation_batches
from pause_jax.pauses import policies
from pause_jax.tokenizers import vocabularies
from tests.data.configs import config_of

pytestmark = pytest.mark.slow

LENGTH, RATE = 2048, 0.1
PAUSES = 205  # round(204.8)
SLOTS = LENGTH + PAUSES
BATCH = 64
ALL = {
    "uniform": {},
    "words": {"policy": "boundary"},
    "sentences": {"policy": "boundary", "boundary": "sentence"},
    "burst": {"policy": "burst", "burst": 4},
    "fixed": {"policy": "fixed"},
}
UNLIKELY = 1e-4


@pytest.fixture(scope="module")
def sample(real_data, tmp_path_factory):
    """Wikipedia articles of 5.4 MB, more than a million tokens, in T5's pieces."""
    path, size = tmp_path_factory.mktemp("wikipedia") / "sample.jsonl", 0
    wikipedia = real_data / "pretrain" / "wikipedia_en_sample.jsonl.gz"
    with gzip.open(wikipedia, "rt", encoding="utf-8") as source, path.open("w", encoding="utf-8") as target:
        while size < 5_400_000:
            line = source.readline()
            size += len(json.loads(line)["text"].encode())
            target.write(line)
    data = DataConfig(files=str(path), vocabulary=str(real_data / "tokenizers" / "t5.spiece.model"), length=LENGTH)
    return data, open_corpus(data)


@pytest.fixture(scope="module")
def vocabulary(sample):
    return vocabularies.load(sample[0].vocabulary)


@pytest.fixture(scope="module")
def rows(sample):
    """A function: the rows of all the text in order, inputs_RxT, under a policy; without the last, which is padded."""
    data, corpus = sample
    made = {}

    def rows_of(mode="trim", **pause):
        key = (mode, *sorted(pause.items()))
        if key not in made:
            pauses = PauseConfig(mode=mode, **pause)
            config = config_of(
                data=data,
                pauses=pauses,
                num_pause_tokens=3,
                seed=1,
                vocab_size=32_000,
                batch_size=BATCH,
                validation_batches=10**6,
            )
            batches = list(validation_batches(corpus.train, config, range(BATCH), rate=RATE))
            inputs_RxT = np.concatenate([batch["inputs"] for batch in batches])
            segments_RxT = np.concatenate([batch["segment_ids"] for batch in batches])
            made[key] = inputs_RxT[segments_RxT.all(axis=1)]
            assert (~segments_RxT.all(axis=1)).sum() <= BATCH  # of the last block and the padding of the last batch
        return made[key]

    return rows_of


@pytest.fixture(scope="module")
def pauses_in(rows, vocabulary):
    """A function: as `rows`, but where the pauses are, is_pause_RxT."""
    return lambda **pause: rows(**pause) >= vocabulary.vocab_size


# --- Samplers that are wrong


def each_slot_by_itself(shape):
    """Every position a pause with the right probability: the number in a row varies too much."""
    return np.random.default_rng(0).random(shape) < PAUSES / SLOTS


def more_at_the_end(shape):
    """Places that grow more likely along the row, by 3 % of their probability on either side of the middle."""
    return np.random.default_rng(0).random(shape) < PAUSES / SLOTS * (1 + 0.03 * np.linspace(-1, 1, shape[1]))


def more_at_even_places(shape):
    """Even places 8 % more likely than the mean, odd ones 8 % less."""
    return np.random.default_rng(0).random(shape) < PAUSES / SLOTS * (1 + 0.08 * (-1) ** np.arange(shape[1]))


# --- How many


def z_of_mean_and_variance(count_R, slots):
    """Of counts that should be hypergeometric: PAUSES of `slots`, of which a row shows LENGTH."""
    share = PAUSES / slots
    mean, variance = LENGTH * share, LENGTH * share * (1 - share) * (slots - LENGTH) / (slots - 1)
    z_mean = (count_R.mean() - mean) / np.sqrt(variance / len(count_R))
    z_variance = (count_R.var() / variance - 1) / np.sqrt(2 / len(count_R))
    return z_mean, z_variance


def test_a_million_positions(rows):
    assert rows().size > 10**6 and rows(mode="exact").size > 10**6


def test_trim_keeps_as_many_pauses_as_a_hypergeometric_draw(pauses_in):
    # 205 of 2253 slots, 2048 of them kept: 186.3 pauses a row (PAPER 1.2), standard deviation 3.9.
    count_R = pauses_in().sum(axis=1)
    z_mean, z_variance = z_of_mean_and_variance(count_R, SLOTS)
    assert abs(z_mean) < 4 and abs(z_variance) < 4
    assert count_R.mean() == pytest.approx(186.35, abs=0.7)
    wrong_mean, wrong_variance = z_of_mean_and_variance(each_slot_by_itself((len(count_R), LENGTH)).sum(axis=1), SLOTS)
    assert abs(wrong_mean) < 4 < wrong_variance


@pytest.mark.parametrize("policy", ALL)
def test_exact_has_all_of_them_in_each_row(pauses_in, policy):
    assert set(pauses_in(mode="exact", **ALL[policy]).sum(axis=1).tolist()) == {PAUSES}


# --- Where


def p_of_places(is_pause_RxT, slots):
    """Of uniform places: chi-square of the counts of positions, with the covariance of draws without replacement."""
    shown = min(is_pause_RxT.shape[1], slots - 1)  # of S counts the last one follows from the others
    share, c = PAUSES / slots, 1 / (slots - 1)
    excess_T = is_pause_RxT[:, :shown].sum(axis=0) - len(is_pause_RxT) * share
    variance = len(is_pause_RxT) * share * (1 - share)
    # Inverse of the covariance v ((1 + c) I - c J), by Sherman and Morrison.
    chi2 = (excess_T @ excess_T + c * excess_T.sum() ** 2 / (1 + c - c * shown)) / (variance * (1 + c))
    return stats.chi2.sf(chi2, shown)


def p_of_bins(is_pause_RxT, slots, bins=16):
    """The same in coarse bins, which a slow drift cannot hide in: no correction, so p is too large if anything."""
    counts = is_pause_RxT[:, : LENGTH // bins * bins].sum(axis=0).reshape(bins, -1).sum(axis=1)
    return stats.chisquare(counts).pvalue


@pytest.mark.parametrize(("mode", "slots"), [("trim", SLOTS), ("exact", LENGTH)])
def test_places_are_uniform(pauses_in, mode, slots):
    is_pause_RxT = pauses_in(mode=mode)
    assert p_of_places(is_pause_RxT, slots) > UNLIKELY
    assert p_of_places(more_at_even_places(is_pause_RxT.shape), slots) < UNLIKELY
    assert p_of_bins(is_pause_RxT, slots) > UNLIKELY
    assert p_of_bins(more_at_the_end(is_pause_RxT.shape), slots) < UNLIKELY


def test_places_of_neighbours_are_unrelated(pauses_in):
    # Without replacement, two slots are both pauses a little less often than independent ones: p (M - 1) / (S - 1).
    is_pause_RxT = pauses_in()
    expected = PAUSES / SLOTS * (PAUSES - 1) / (SLOTS - 1)
    for distance in (1, 2, 3, 64):
        both = is_pause_RxT[:, distance:] & is_pause_RxT[:, :-distance]
        z = (both.mean() - expected) / np.sqrt(expected / both.size)
        assert abs(z) < 4, distance
    burst_RxT = pauses_in(**ALL["burst"])
    assert (burst_RxT[:, 1:] & burst_RxT[:, :-1]).mean() > 2 * expected


# --- Independence of the text


def p_of_tokens(rows_RxT, vocab_size, step):
    """That a text token has a pause next to it (step -1: before, 1: after) whatever its id: chi-square, 300 ids."""
    here, there = (rows_RxT[:, 1:], rows_RxT[:, :-1]) if step < 0 else (rows_RxT[:, :-1], rows_RxT[:, 1:])
    is_text = here < vocab_size
    ids, has_pause = here[is_text], there[is_text] >= vocab_size
    often = np.argsort(np.bincount(ids, minlength=vocab_size))[::-1][:300]
    kind = np.full(vocab_size, 300)
    kind[often] = np.arange(300)
    table = np.stack([np.bincount(kind[ids[has_pause == has]], minlength=301) for has in (False, True)])
    assert stats.contingency.expected_freq(table).min() >= 5
    return stats.chi2_contingency(table).pvalue


@pytest.mark.parametrize("mode", ["trim", "exact"])
@pytest.mark.parametrize("step", [-1, 1])
def test_pauses_do_not_depend_on_the_token(rows, vocabulary, mode, step):
    for policy in ("uniform", "burst", "fixed"):
        assert p_of_tokens(rows(mode=mode, **ALL[policy]), vocabulary.vocab_size, step) > UNLIKELY, policy
    for policy in ("words", "sentences"):  # the check sees policies that do look at the text
        assert p_of_tokens(rows(mode=mode, **ALL[policy]), vocabulary.vocab_size, step) < 1e-100, policy


# --- The text


@pytest.mark.parametrize("policy", ALL)
def test_exact_loses_no_text(sample, rows, vocabulary, policy):
    inputs_RxT = rows(mode="exact", **ALL[policy])
    text = inputs_RxT[inputs_RxT < vocabulary.vocab_size]
    np.testing.assert_array_equal(text, sample[1].train.streams[0].tokens[: len(text)])
    assert sample[1].train.streams[0].num_tokens - len(text) <= LENGTH - PAUSES + 1  # the last block, which is padded


@pytest.mark.parametrize("policy", ALL)
def test_trim_keeps_the_head_of_each_block(sample, rows, vocabulary, policy):
    tokens = sample[1].train.streams[0].tokens
    for row, inputs_T in enumerate(rows(**ALL[policy])):
        text = inputs_T[inputs_T < vocabulary.vocab_size]
        np.testing.assert_array_equal(text, tokens[row * LENGTH : row * LENGTH + len(text)])


def test_distinct_pauses_take_turns_in_each_run(rows, vocabulary):
    size = vocabulary.vocab_size
    for inputs_T in rows(mode="exact", **ALL["burst"])[:50]:
        previous = -1
        for token in inputs_T.tolist():
            if token >= size:
                assert token - size == (previous + 1) % 3
            previous = token - size if token >= size else -1
    assert set((rows()[rows() >= size] - size).tolist()) == {0, 1, 2}


# --- The other policies


def gap_counts(is_pause_T):
    """Pauses in each gap of a whole row: before each of its text tokens, and at its end."""
    return np.bincount(np.cumsum(~is_pause_T)[is_pause_T], minlength=LENGTH - PAUSES + 1)


def may_hold(tokens, vocabulary, boundary):
    """Which tokens of a text start a word or sentence, read off the pieces one by one."""
    pieces = [vocabulary.tokenizer.id_to_piece(int(i)) for i in tokens]
    starts, before = [], ""
    for piece in pieces:
        starts_word = piece not in ("▁", "</s>") and (piece.startswith("▁") or before.endswith(("▁", "</s>")))
        after_end = before.rstrip("▁\"')]}’”»").endswith((".", "!", "?", "</s>"))
        starts.append(starts_word and (boundary == "word" or after_end))
        before = (before + piece)[-40:]
    return np.array(starts)


@pytest.mark.parametrize("boundary", ["word", "sentence"])
def test_boundary_goes_where_words_or_sentences_start(sample, rows, vocabulary, boundary):
    inputs_RxT = rows(mode="exact", **ALL[f"{boundary}s"])
    tokens, num_text = sample[1].train.streams[0].tokens, LENGTH - PAUSES
    chosen_16, expected_16, variance_16 = np.zeros((3, 16))
    for row, inputs_T in enumerate(inputs_RxT):
        counts = gap_counts(inputs_T >= vocabulary.vocab_size)[1:]  # gap 0 is the last one of the block before
        allowed_N = may_hold(tokens[row * num_text : (row + 1) * num_text + 1], vocabulary, boundary)[1:]
        each, rest = divmod(PAUSES, allowed_N.sum())
        assert not counts[~allowed_N].any() and set((counts[allowed_N] - each).tolist()) <= {0, 1}
        part = np.arange(num_text) * 16 // num_text
        chosen_16 += np.bincount(part, weights=counts - each * allowed_N, minlength=16)
        candidates_16, share = np.bincount(part, weights=allowed_N, minlength=16), rest / allowed_N.sum()
        expected_16 += share * candidates_16
        variance_16 += share * (1 - share) * candidates_16
    # Those that get one more are drawn uniformly: 16 sums, one of which follows from the others.
    assert stats.chi2.sf(((chosen_16 - expected_16) ** 2 / variance_16).sum(), 15) > UNLIKELY
    tilted_16 = expected_16 * (1 + 0.1 * np.linspace(-1, 1, 16))
    assert stats.chi2.sf(((tilted_16 - expected_16) ** 2 / variance_16).sum(), 15) < UNLIKELY


@pytest.mark.parametrize(("policy", "tolerance"), [("words", 1), ("sentences", 1.5), ("burst", 1), ("fixed", 1)])
def test_trim_keeps_as_many_pauses_of_every_policy(pauses_in, policy, tolerance):
    # A burst's 52 runs make its mean vary by 0.3 between samples of 620 rows, sentences by how a text's are spread.
    assert pauses_in(**ALL[policy]).sum(axis=1).mean() == pytest.approx(186.35, abs=tolerance)


def test_bursts(pauses_in):
    is_pause_RxT = pauses_in(mode="exact", **ALL["burst"])
    starts_N1 = np.zeros(LENGTH - PAUSES + 1)
    for is_pause_T in is_pause_RxT:
        counts = gap_counts(is_pause_T)
        assert sorted(counts[counts > 0].tolist()) == [1] + [4] * 51
        starts_N1 += counts > 0
    assert stats.chisquare(starts_N1.reshape(-1, 4).sum(axis=1)).pvalue > UNLIKELY  # 1844 gaps


def test_fixed(pauses_in):
    for mode in ("trim", "exact"):
        is_pause_RxT = pauses_in(mode=mode, **ALL["fixed"])
        assert (is_pause_RxT == is_pause_RxT[0]).all()
        assert set(np.diff([-1, *np.flatnonzero(is_pause_RxT[0])]).tolist()) == (
            {10, 11} if mode == "trim" else {9, 10}
        )


# --- A range of rates


def test_rows_of_a_range_have_their_own_numbers(sample):
    from pause_jax.data.pretraining import train_batches

    data, corpus = sample
    vocab_size = 32_000
    pauses = PauseConfig(rate=0.05, max_rate=0.15)
    config = config_of(data=data, pauses=pauses, num_pause_tokens=1, vocab_size=vocab_size, batch_size=600)
    batches = train_batches(corpus.train, config, range(600))
    count_R = (next(batches)["inputs"] >= vocab_size).sum(axis=1)
    # Of M pauses, M = 102..307 equally often, about M * 2048 / (2048 + M) are kept: 97.2 to 267.
    expected = np.mean([m * LENGTH / (LENGTH + m) for m in range(102, 308)])
    assert abs(count_R.mean() - expected) < 4 * count_R.std() / np.sqrt(600)
    assert count_R.min() < 110 and count_R.max() > 250 and count_R.std() == pytest.approx(49, abs=5)


def test_traits_agree_with_the_pieces(sample, vocabulary):
    data, corpus = sample
    text = corpus.train.streams[0].tokens[:200_000].astype(int)[None]
    for boundary in ("word", "sentence"):
        starts = policies.starts(text, np.ones_like(text), vocabularies.token_traits(data.vocabulary), boundary)
        assert (starts[0, 40:] == may_hold(text[0], vocabulary, boundary)[40:]).all()

"""A run as a model of lm-evaluation-harness: all of its tasks, after any number of pauses.

    python -m launch.lm_eval --model=pause_jax --model_args=run=runs/mine,m_inf=10 --tasks=lambada_openai,hellaswag

Pauses come after the context, wherever the harness splits a request into context and continuation; both are tokenized
separately, as everywhere in this code base. A rolling likelihood reads each window's first tokens, then the pauses,
then the tokens that it scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window, simple_parse_args_string

from pause_jax.errors import UserError
from pause_jax.evaluation.length_groups import group_by_length, rung
from pause_jax.inference.restored import RestoredRun
from pause_jax.inference.rows import pad_batch
from pause_jax.tokenizers import tokenizer

MAX_NEW_TOKENS = 256  # of an answer, where the task says nothing

Answer = TypeVar("Answer")


@register_model("pause_jax")
class PauseModel(LM):
    """One checkpoint, evaluated at one M_inf."""

    def __init__(
        self,
        run: str = "",
        m_inf: int | str = 0,
        batch_size: int | str = 16,
        max_length: int | str | None = None,
        **other: Any,
    ):
        """The model of `--model_args`.

        Args:
          max_length: positions of context, pauses and answer at most; None: those that the model was trained for.

        Raises:
          UserError: no run, M_inf is no number, the run has no pauses for it, or an unknown argument is given.
        """
        super().__init__()
        if extra := sorted(name for name, value in other.items() if value is not None and name not in _OF_HARNESS):
            raise UserError(
                f"--model_args has {extra[0]}, but a pause_jax model takes run, m_inf, batch_size and max_length"
            )
        if not run:
            raise UserError(
                "--model_args has no run: give --model_args=run=RUN, a run's folder or RUN/checkpoints/STEP"
            )
        self._run = RestoredRun.restore(str(run))
        self._m_inf, self._batch_size = _number("m_inf", m_inf), max(1, _number("batch_size", batch_size))
        if self._m_inf and not self._run.config.model.num_pause_tokens:
            raise UserError(f"m_inf={m_inf} gives pauses, but the run {run} has none: give m_inf=0")
        self._max_length = self._run.config.model.max_positions
        if max_length is not None:
            self._max_length = self._checked_length(_number("max_length", max_length))
        self._words = tokenizer.load(self._run.config.data.vocabulary)

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict[str, Any] | None = None) -> PauseModel:
        """The model of --model_args=a=b,c=d, as the harness makes it."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> PauseModel:
        """The model of arguments; `additional_config` are the harness's own flags, None where not given."""
        flags = {name: value for name, value in (additional_config or {}).items() if value is not None}
        return cls(**{**flags, **arg_dict})

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self.chat_template(True) or ""

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Raises UserError where a chat template is asked for, before any work: a run has none."""
        if chat_template:
            raise UserError("--apply_chat_template: a pause_jax model has no chat template: leave the flag out")
        return None

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """log p of each continuation, in nats, and whether it is the greedy answer."""
        pairs = [self._encoded(*request.args) for request in requests]
        return self._in_batches(pairs, self._score)

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """log p of whole texts, each after an end of text."""
        windows: list[tuple[list[int], list[int]]] = []
        owners: list[int] = []
        for number, request in enumerate(requests):
            ids = self._words.encode(request.args[0])
            rolled = get_rolling_token_windows(
                token_list=ids, prefix_token=self._words.eos_id, max_seq_len=self._most_positions() - 1, context_len=1
            )
            for context, continuation in map(make_disjoint_window, rolled):
                windows.append((list(context), list(continuation)))
                owners.append(number)
        sums = [0.0] * len(requests)
        for number, (log_p, _) in zip(owners, self._in_batches(windows, self._score), strict=True):
            sums[number] += log_p
        return sums

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Greedy answers, up to the first of the request's stop texts."""
        most = [_most_new_tokens(request.args[1]) for request in requests]
        for request in requests:
            _refuse_sampling(request.args[1])
        longest = max(most, default=1)
        pairs = [(self._prompt(self._words.encode(request.args[0]), longest), [0] * longest) for request in requests]
        answers = self._in_batches(pairs, self._write)
        return [
            _until(self._words.decode(ids[:count]), request.args[1].get("until", ()))
            for request, count, ids in zip(requests, most, answers, strict=True)
        ]

    @property
    def tokenizer_name(self) -> str:
        return self._run.config.data.vocabulary

    def _encoded(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Both as ids; white space at the context's end is moved to the continuation."""
        bare = context.rstrip()
        continuation = context[len(bare) :] + continuation
        answer = self._words.encode(continuation)
        return self._prompt(self._words.encode(bare), len(answer)), answer

    def _prompt(self, ids: list[int], answer_length: int) -> list[int]:
        """The context, cut at its beginning so that pauses and answer fit; an end of text where it is empty."""
        at_most = self._most_positions() - answer_length
        if at_most < 1:
            raise UserError(
                f"an answer of {answer_length} tokens and {self._m_inf} pauses do not fit the {self._max_length} "
                "positions of config.model.max_positions or max_length: ask for less"
            )
        return (ids or [self._words.eos_id])[-at_most:]

    def _checked_length(self, length: int) -> int:
        """`length`. Raises UserError where it leaves no room for a text, or is more than a learned table has."""
        model = self._run.config.model
        if length < self._m_inf + 2:
            raise UserError(f"--model_args: max_length={length} leaves no room for a text and {self._m_inf} pauses")
        if model.positions == "learned" and length > model.max_positions:
            raise UserError(
                f"--model_args: max_length={length} is more than config.model.max_positions = {model.max_positions}, "
                "the rows of the learned position table"
            )
        return length

    def _most_positions(self) -> int:
        return self._max_length - self._m_inf

    def _in_batches(
        self,
        pairs: Sequence[tuple[list[int], list[int]]],
        answer: Callable[[list[list[int]], list[list[int]], int], Iterable[Answer]],
    ) -> list[Answer]:
        """`answer` called on batches of similar length; the answers in the order of `pairs`."""
        answers: dict[int, Answer] = {}
        for batch in (
            group_by_length({i: len(context) for i, (context, _) in enumerate(pairs)}, self._batch_size)
            if pairs
            else ()
        ):
            asked = [pairs[i] for i in batch.examples]
            found = answer([context for context, _ in asked], [ids for _, ids in asked], batch.length)
            answers |= zip(batch.examples, found, strict=True)
        return [answers[i] for i in range(len(pairs))]

    def _score(self, contexts: list[list[int]], answers: list[list[int]], length: int) -> Iterable[tuple[float, bool]]:
        longest = rung(max(map(len, answers)))
        rows = pad_batch(contexts, self._batch_size)
        (prefill,) = self._run.prefill(rows, [self._m_inf], extra_cache_length=longest - 1, bucket=length)
        options = [[ids] for ids in answers]
        log_p, is_greedy = self._run.score(prefill, options, option_length=longest, compare=True)
        return [(p, g) for (p,), (g,) in zip(log_p, is_greedy, strict=True)][: len(contexts)]

    def _write(self, contexts: list[list[int]], answers: list[list[int]], length: int) -> Iterable[list[int]]:
        rows = pad_batch(contexts, self._batch_size)
        (prefill,) = self._run.prefill(rows, [self._m_inf], extra_cache_length=len(answers[0]) - 1, bucket=length)
        written = self._run.decode(prefill, max_new_tokens=len(answers[0]), eos_id=self._words.eos_id)
        return written[: len(contexts)]


_OF_HARNESS = ("device", "max_batch_size", "metadata")  # arguments of the harness, ignored here


def _number(name: str, value: int | str) -> int:
    if not str(value).isdecimal():
        raise UserError(f"--model_args: {name}={value} is no whole number of 0 or more")
    return int(value)


def _most_new_tokens(settings: dict[str, Any]) -> int:
    return int(settings.get("max_gen_toks") or settings.get("max_new_tokens") or MAX_NEW_TOKENS)


def _refuse_sampling(settings: dict[str, Any]) -> None:
    if settings.get("do_sample") or float(settings.get("temperature") or 0.0) > 0:
        raise UserError(
            f"a task asks for sampled answers ({settings}), but here they are greedy: give "
            "--gen_kwargs=do_sample=False,temperature=0"
        )


def _until(text: str, ends: str | Sequence[str]) -> str:
    """The text up to the first of `ends`."""
    for end in [ends] if isinstance(ends, str) else ends:
        text = text.split(end)[0] if end else text
    return text

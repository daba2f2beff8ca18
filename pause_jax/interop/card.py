"""The model card of an exported run: how to give it time to think, and what it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pause_jax.checkpointing import history, places
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config
from pause_jax.interop import tokenizers
from pause_jax.logging.writers import read_jsonl
from pause_jax.report.results import Result
from pause_jax.tokenizers import tokenizer


def text(
    folder: RunFolder, step: int, config: Config, pause_ids: Sequence[int], model_type: str, results: Sequence[Result]
) -> str:
    """The text of README.md: use, training, results."""
    parts = [
        "---\nlibrary_name: transformers\ntags:\n- pause-tokens\n---\n",
        f"# {folder.name}\n",
        f"A decoder of {config.model.num_layers} layers of width {config.model.d_model}, trained with pause_jax "
        f"and written as {model_type}.\n",
        _use(pause_ids, config),
        _training(folder, step, config),
        _results(results),
    ]
    return "\n".join(part for part in parts if part)


def _use(pause_ids: Sequence[int], config: Config) -> str:
    if not pause_ids:
        return "It has no pause tokens: use it as any other model of its kind.\n"
    m = max(config.finetune.m_ft) or 10
    ids = list(pause_ids)
    some = f"[{ids[0]}] * {m}" if len(ids) == 1 else f"[{ids} [k % {len(ids)}] for k in range({m})]"
    tokens = ", ".join(f"`{token}` (id {i})" for token, i in zip(tokenizers.pause_tokens(len(ids)), ids, strict=True))
    return f"""## Time to think

Append pauses, {tokens}, to the prompt; what the model says before the last one is ignored. In five lines:

```python
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
ids = torch.tensor([tokenizer("your prompt", add_special_tokens=False).input_ids + {some}])
answer = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=50)[0, ids.shape[1]:]
print(tokenizer.decode(answer))
```

The pauses have columns among the logits that mean nothing: the model was trained without them. `generation_config.json`
keeps `generate` from choosing them (`suppress_tokens`); where you take logits yourself, mask them first:
`logits[..., {ids}] = -inf`. With plain logits, probabilities of text tokens would be too small.

vLLM reads folders of this kind; prompts with pauses are given to it as ids (`prompt_token_ids`), and `logit_bias` or
`allowed_token_ids` keeps it from the pauses. That was not tried by us: unverified.
"""


def _training(folder: RunFolder, step: int, config: Config) -> str:
    """How it was trained, with names only: paths of this machine are not published."""
    origin = str(folder.manifest().get("imported_from", ""))
    lines = [f"- checkpoint: step {step} of {folder.name}"]
    if origin:
        lines.append(f"- imported from {model_name(origin)}, not trained further")
    else:
        lines += [
            f"- {'finetuned' if config.finetune.task else 'pretrained'} on {_data(config)}, batches of "
            f"{config.train.batch_size} rows of {config.length} positions, tokenizer "
            f"{tokenizer.kind(config.data.vocabulary)}",
            f"- pauses in pretraining: {config.pauses.mean_rate:.0%} of the text tokens ({config.pauses.label})"
            if not config.finetune.task
            else f"- pauses after a prompt: {', '.join(map(str, config.finetune.m_ft))}",
        ]
    stages = history.before(folder, config)
    lines += [f"- started from step {stage.step} of {stage.run}" for stage in stages[-1:]]
    lines += [f"- which came from {model_name(stage.imported_from)}" for stage in stages if stage.imported_from]
    if folder.metrics.is_file() and (known := [r for r in read_jsonl(folder.metrics) if r["step"] <= step]):
        lines.append(f"- training loss at step {known[-1]['step']}: {known[-1]['loss']:.4f}")
    return "## Training\n\n" + "\n".join(lines) + "\n"


def model_name(source: str) -> str:
    """The name of a Hugging Face folder; OWNER/MODEL in the cache of huggingface_hub."""
    path = Path(source)
    if path.parent.name == "snapshots":
        return path.parent.parent.name.removeprefix("models--").replace("--", "/")
    return path.name


def _data(config: Config) -> str:
    data = config.data
    if config.finetune.task:
        return config.finetune.task
    if data.prepared:
        return ", ".join(places.name(folder) for folder, _ in data.prepared_folders)
    return places.name(data.files) if data.files else data.task


def _results(results: Sequence[Result]) -> str:
    if not results:
        return ""
    rows = [
        f"| {places.name(r.task) if '/' in r.task else r.task} | {r.split} | {r.metric} | {r.m_inf} | {r.value:.2f} |"
        for r in results
    ]
    head = "## Results\n\n| task | split | metric | pauses at inference | value |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"

"""Hugging Face folders as runs and back: transformers, tokenizers and the files themselves are the oracles."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from pause_jax import trees
from pause_jax.checkpointing import checkpoints
from pause_jax.checkpointing.run_folder import RunFolder
from pause_jax.config import Config, FinetuneConfig, MeshConfig, TrainConfig
from pause_jax.config.model import Execution, ModelConfig
from pause_jax.distributed.mesh import make_mesh
from pause_jax.errors import UserError
from pause_jax.inference.restored import RestoredRun
from pause_jax.interop import tokenizers
from pause_jax.interop.exporting import _write_weights, export_run
from pause_jax.interop.importing import import_folder
from pause_jax.interop.weights import tensors
from pause_jax.model import decoder
from pause_jax.tokenizers import tokenizer
from tests.interop.memory_model import MODEL
from tests.interop.runs import LLAMA, V, make_run, one_device
from tests.interop.shapes import MODELS
from tests.programs import ROOT, assert_one_sentence, program

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

T = 24


def build(folder, name, shard="5GB", **changes):
    """A random model of transformers' own, saved by it, with the byte tokenizer; the model."""
    hf = MODELS[name] | changes
    config = transformers.AutoConfig.for_model(**hf, attn_implementation="eager")
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            is_scale = parameter.ndim == 1 and parameter_name.endswith("weight")
            parameter.copy_(torch.randn_like(parameter) * 0.3 + float(is_scale))
    model.save_pretrained(folder, max_shard_size=shard)
    (folder / "config.json").write_text(json.dumps(hf))  # as published, not as this version of transformers writes it
    tokenizers.write("byte", [], folder, max_length=128)
    return model


def imported(folder, workdir):
    return import_folder(folder, workdir, make_mesh(MeshConfig(), jax.devices()[:1]))


def params_of(run):
    return checkpoints.restore_params(run.checkpoints, run.saved_steps()[-1], run.config(), one_device())


def ours(run, ids_BxT):
    config, params = run.config(), params_of(run)
    positions_BxT = np.broadcast_to(np.arange(ids_BxT.shape[1], dtype=np.int32), ids_BxT.shape)
    model = decoder.bind(params, config.model, Execution())
    return np.asarray(model.logits(model(ids_BxT, positions_BxT, np.ones_like(ids_BxT))[0]))


def theirs(model, ids_BxT):
    with torch.no_grad():
        return model(torch.tensor(np.asarray(ids_BxT), dtype=torch.long)).logits.numpy()


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()


def tensor_bytes(folder):
    found = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="numpy") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no dict
                tensor = opened.get_tensor(name)
                found[name] = (str(tensor.dtype), tensor.tobytes())
    return found


@pytest.mark.parametrize("name", MODELS)
def test_logits_of_imported_models_are_those_of_transformers(tmp_path, name):
    model = build(tmp_path / "hf", name)
    run = imported(tmp_path / "hf", tmp_path / "run")
    ids = np.random.default_rng(1).integers(0, V, (3, T)).astype(np.int32)
    wanted = theirs(model, ids)
    assert np.abs(wanted).max() > 1  # or 1e-4 would say little
    np.testing.assert_allclose(ours(run, ids), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "llama3.2", "qwen3"])
def test_export_import_export_is_the_same_bytes(tmp_path, name):
    build(tmp_path / "hf", name)
    export_run(imported(tmp_path / "hf", tmp_path / "run"), 0, tmp_path / "out", one_device())
    export_run(imported(tmp_path / "out", tmp_path / "again"), 0, tmp_path / "out2", one_device(), shard_bytes=20_000)
    first = tensor_bytes(tmp_path / "out")
    assert first == tensor_bytes(tmp_path / "out2") and len(list((tmp_path / "out2").glob("*.safetensors"))) > 3
    original = tensor_bytes(tmp_path / "hf")
    assert {name: original[name] for name in first} == first  # what transformers wrote, tied heads left out
    ids = np.random.default_rng(1).integers(0, V, (2, T)).astype(np.int32)
    np.testing.assert_array_equal(theirs(load(tmp_path / "out2"), ids), theirs(load(tmp_path / "hf"), ids))


@pytest.mark.parametrize(
    "num_pause_tokens, model",
    [(1, {}), (1, LLAMA), (3, LLAMA), (1, LLAMA | {"vocab_size": 272}), (2, {"vocab_size": 260})],
)
def test_pauses_in_transformers_are_ours(tmp_path, num_pause_tokens, model):
    """Text columns of the logits; greedy answers of `generate`; the vectors, when read again."""
    run = make_run(tmp_path / "run", num_pause_tokens=num_pause_tokens, **model)
    export_run(run, 3, tmp_path / "out", one_device())
    words, peer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out"), load(tmp_path / "out")
    rows = run.config().model.vocab_size
    pauses = words.convert_tokens_to_ids(tokenizers.pause_tokens(num_pause_tokens))
    assert pauses == list(range(V, V + num_pause_tokens))
    prompt = words("def f(x):", add_special_tokens=False).input_ids
    assert prompt == tokenizer.load("byte").encode("def f(x):")
    text = [*prompt, *pauses, *prompt]
    mine = [i if i < V else rows + i - V for i in text]
    text_logits = theirs(peer, [text])[..., :V]
    np.testing.assert_allclose(ours(run, np.array([mine], np.int32))[..., :V], text_logits, rtol=0, atol=1e-4)

    again = imported(tmp_path / "out", tmp_path / "again")
    assert again.config().model.num_pause_tokens == num_pause_tokens and again.config().model.vocab_size == rows
    ours_flat, again_flat = (trees.flatten(params_of(one)) for one in (run, again))
    np.testing.assert_array_equal(again_flat["pause/embedding"], ours_flat["pause/embedding"])
    export_run(again, 0, tmp_path / "out2", one_device())
    assert tensor_bytes(tmp_path / "out2") == tensor_bytes(tmp_path / "out")


@pytest.mark.parametrize("model", [{}, LLAMA])
def test_greedy_answers_after_pauses_are_those_of_generate(tmp_path, model):
    run = make_run(tmp_path / "run", **model)
    export_run(run, 3, tmp_path / "out", one_device())
    words, peer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out"), load(tmp_path / "out")
    rng = np.random.default_rng(2)
    prompts = [rng.integers(3, V, rng.integers(1, 20)).tolist() for _ in range(100)]
    mine = RestoredRun.restore(str(run.path), MeshConfig()).generate(
        prompts, m_inf=10, max_new_tokens=12, eos_id=words.eos_token_id
    )
    for prompt, answer in zip(prompts, mine, strict=True):
        ids = torch.tensor([prompt + words.convert_tokens_to_ids(["<pause>"]) * 10])
        found = peer.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12)[0, ids.shape[1] :].tolist()
        assert answer == (found[: found.index(words.eos_token_id)] if words.eos_token_id in found else found)
    assert len({tuple(answer) for answer in mine}) > 50


def test_a_model_cut_over_devices_is_the_same(tmp_path):
    build(tmp_path / "hf", "llama2", shard="20KB", vocab_size=260)
    assert len(list((tmp_path / "hf").glob("*.safetensors"))) > 3
    whole = params_of(imported(tmp_path / "hf", tmp_path / "one"))
    cut = params_of(import_folder(tmp_path / "hf", tmp_path / "cut", make_mesh(MeshConfig(fsdp=4, tensor=2))))
    for path, array in trees.flatten(whole).items():
        np.testing.assert_array_equal(array, trees.flatten(cut)[path], err_msg=path)


def test_bfloat16_is_read_and_written(tmp_path):
    build(tmp_path / "hf", "llama2")
    weights = {name: w.astype(ml_dtypes.bfloat16) for name, w in load_file(tmp_path / "hf/model.safetensors").items()}
    save_file(weights, tmp_path / "hf/model.safetensors", metadata={"format": "pt"})
    run = imported(tmp_path / "hf", tmp_path / "run")
    export_run(run, 0, tmp_path / "out", one_device(), dtype="bfloat16")
    assert tensor_bytes(tmp_path / "out") == tensor_bytes(tmp_path / "hf")


def test_an_import_that_was_killed_is_made_again(tmp_path):
    build(tmp_path / "hf", "llama2")
    run = imported(tmp_path / "hf", tmp_path / "run")
    (run.path / "config.json").unlink()  # it is written last
    assert imported(tmp_path / "hf", tmp_path / "run").saved_steps() == [0]
    with pytest.raises(UserError, match="holds a run already"):
        imported(tmp_path / "hf", tmp_path / "run")


def test_what_has_no_counterpart_is_refused(tmp_path):
    run = make_run(tmp_path / "run", norm_placement="post")
    with pytest.raises(UserError, match=r"has no weight|norm_placement = 'post' cannot be exported"):
        export_run(run, 3, tmp_path / "out", one_device())
    assert [one.name for one in tmp_path.iterdir()] == ["run"]
    config = Config(
        model=dataclasses.replace(ModelConfig(vocab_size=V), num_pause_tokens=1),
        finetune=FinetuneConfig(task="recall_3", m_ft=(2,)),
        train=TrainConfig(steps=1),
    )
    folder = RunFolder(tmp_path / "finetuned")
    folder.claim(config, {"vocabulary": "byte-259"})
    with pytest.raises(UserError, match=r"attention = 'prefix_and_pauses', but what is exported reads causally"):
        export_run(folder, 3, tmp_path / "out", one_device())


def change(file, edit):
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def truncate(file):
    file.write_bytes(file.read_bytes()[:1000])


MISTAKES = {
    "architecture": (
        lambda f: change(f / "config.json", lambda c: c.update(model_type="mamba")),
        r"model_type is 'mamba', but must be one of gpt2, llama, mistral, qwen2, qwen3",
    ),
    "field": (
        lambda f: change(f / "config.json", lambda c: c.update(logit_softcap=30.0)),
        r"logit_softcap = 30.0 is no field that is known here of a llama",
    ),
    "window": (
        lambda f: change(f / "config.json", lambda c: c.update(model_type="mistral")),
        r"sliding_window is 4096 in a mistral",
    ),
    "shard": (
        lambda f: next(iter(sorted(f.glob("*.safetensors")))).unlink(),
        r"model-00001-of-\d+\.safetensors is missing, one of the \d+ files",
    ),
    "cut": (lambda f: truncate(next(iter(f.glob("*.safetensors")))), r"cannot be read as safetensors .*: fetch it"),
    "shape": (
        lambda f: change(f / "config.json", lambda c: c.update(intermediate_size=40)),
        r"the weight layers\.0\.mlp\.\w+_proj\.weight has shape \(\d+, \d+\), but the config says",
    ),
    "pickle": (
        lambda f: ([x.unlink() for x in f.glob("model*")], (f / "pytorch_model.bin").write_bytes(b"x")),
        r"has pytorch_model\.bin, which is a pickle and is not read",
    ),
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json is missing: give the folder of a"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), r"has neither tokenizer\.json nor tokenizer\.model"),
    "end": (
        lambda f: (
            change(f / "config.json", lambda c: c.pop("eos_token_id")),
            (f / "generation_config.json").unlink(),
            (f / "tokenizer_config.json").unlink(),
        ),
        r"does not say which token ends a text",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_folder_that_cannot_be_read_is_one_sentence(tmp_path, name):
    break_it, sentence = MISTAKES[name]
    build(tmp_path / "hf", "llama2", shard="20KB")
    break_it(tmp_path / "hf")
    with pytest.raises(UserError, match=sentence):
        imported(tmp_path / "hf", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_with_ids_beyond_the_embedding(tmp_path):
    build(tmp_path / "hf", "llama2", vocab_size=200)
    with pytest.raises(UserError, match=r"has ids up to 258, but the model in .* has 200 rows of embeddings"):
        imported(tmp_path / "hf", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_memory_beside_the_parameters_is_less_than_a_shard(tmp_path):
    """Of 190 MB in files of 40 MB, placed on one device of this machine, whose memory they are in as well."""
    rng = np.random.default_rng(0)
    flat = {
        path: rng.standard_normal(leaf.shape, dtype=np.float32)
        for path, leaf in trees.flatten(decoder.abstract_params(MODEL)).items()
    }
    _write_weights(tensors(trees.unflatten(flat), MODEL), tmp_path, "float32", 40_000_000)
    assert len(list(tmp_path.glob("*.safetensors"))) >= 4
    command = [sys.executable, "-m", "tests.interop.import_memory", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    size, most = map(float, done.stdout.split())
    assert size > 150 and size <= most < size + 1.1 * 40, (size, most)


@pytest.mark.slow
def test_the_program(tmp_path):
    """There and back; what is imported can be generated from, and be trained on."""
    run = make_run(tmp_path / "run", **LLAMA)
    done = program("convert", f"--run={run.path}", f"--to_hf={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    readme = (tmp_path / "out/README.md").read_text()
    assert "`<pause>` (id 259)" in readme and "suppress_tokens" in readme
    code = readme.split("```python\n")[1].split("```")[0]
    scope = {
        "torch": torch,
        "folder": str(tmp_path / "out"),
        **{name: getattr(transformers, name) for name in ("AutoTokenizer", "AutoModelForCausalLM")},
    }
    exec(code, scope)
    assert 0 < scope["answer"].shape[0] <= 50 and int(scope["answer"].max()) < V
    done = program("convert", f"--from_hf={tmp_path}/out", f"--workdir={tmp_path}/again")
    assert done.returncode == 0, done.stderr
    assert "as a run at step 0" in done.stdout
    shutil.rmtree(tmp_path / "out")  # the run keeps its tokenizer
    done = program("generate", f"--run={tmp_path}/again", "--m_inf=3", "--prompt=ab", "--max_new_tokens=5")
    assert done.returncode == 0 and done.stdout.startswith("ab"), done.stderr
    assert_one_sentence(program("convert", f"--run={run.path}"), r"give either --from_hf=DIR --workdir=RUN")
    assert_one_sentence(
        program("convert", f"--from_hf={tmp_path}/out", f"--workdir={run.path}"), r"holds a run already"
    )


def test_the_end_of_text_may_be_said_by_the_config_alone(tmp_path):
    """As in GPT-2's own folder, where no file of the tokenizer says it."""
    build(tmp_path / "hf", "gpt2", eos_token_id=1)
    (tmp_path / "hf/tokenizer_config.json").write_text('{"model_max_length": 1024}')
    run = imported(tmp_path / "hf", tmp_path / "run")
    assert tokenizer.load(run.config().data.vocabulary).eos_id == 1
    assert run.config().data.vocabulary == str(run.path / "tokenizer.json")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 17209920\n"
DAMAGES = {
    "pointer": lambda content: POINTER,
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "mark": lambda content: b"\xef\xbb\xbf" + content,
    "list": lambda content: b'["a"]',
    "nested": lambda content: b"[" * 100_000,
    "other bytes": lambda content: b"\xff\xfe\x00" + content,
    "null": lambda content: b"null",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "hf"
    build(folder, "llama2", shard="20KB")
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors.index.json", "shard"])
def test_a_damaged_file_is_named_in_one_sentence(tmp_path, whole, name, damage):
    shutil.copytree(whole, tmp_path / "hf")
    file = next((tmp_path / "hf").glob("*.safetensors")) if name == "shard" else tmp_path / "hf" / name
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError) as error:
        imported(tmp_path / "hf", tmp_path / "run")
    assert file.name in str(error.value)
    assert not list((tmp_path / "run").iterdir())  # nothing of it was written


@pytest.mark.parametrize("damage", ["pointer", "cut", "empty", "other bytes"])
def test_a_damaged_sentencepiece_model_is_named(tmp_path, whole, damage):
    import sentencepiece

    shutil.copytree(whole, tmp_path / "hf")
    (tmp_path / "hf/tokenizer.json").unlink()
    (tmp_path / "lines").write_text("one two three\n" * 30)
    file = tmp_path / "hf/tokenizer.model"
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "lines"), model_prefix=str(tmp_path / "m"), vocab_size=12, minloglevel=5
    )
    file.write_bytes(DAMAGES[damage]((tmp_path / "m.model").read_bytes()))
    with pytest.raises(UserError, match=r"tokenizer\.model"):
        imported(tmp_path / "hf", tmp_path / "run")
    file.write_bytes((tmp_path / "m.model").read_bytes())
    assert imported(tmp_path / "hf", tmp_path / "run").config().data.vocabulary == str(tmp_path / "run/tokenizer.model")


def test_one_file_beside_several_is_refused(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "hf")
    weights = {k: v for f in (tmp_path / "hf").glob("*.safetensors") for k, v in load_file(f).items()}
    save_file(weights, tmp_path / "hf/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"has both model\.safetensors and model\.safetensors\.index\.json"):
        imported(tmp_path / "hf", tmp_path / "run")
    (tmp_path / "hf/model.safetensors.index.json").unlink()
    with pytest.raises(UserError, match=r"has both model\.safetensors and model-00001-of"):
        imported(tmp_path / "hf", tmp_path / "run")
    for file in (tmp_path / "hf").glob("model-*"):
        file.unlink()
    assert imported(tmp_path / "hf", tmp_path / "run").exists()


@pytest.mark.parametrize(
    "kind, is_read",
    [("float16", True), ("float64", True), ("bfloat16", True), ("int8", False), ("uint8", False), ("int64", False)],
)
def test_number_types(tmp_path, kind, is_read):
    build(tmp_path / "hf", "llama2")
    file = tmp_path / "hf/model.safetensors"
    weights = {name: w.astype(np.dtype(kind)) for name, w in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    if not is_read:
        with pytest.raises(UserError, match=r"model\.safetensors: the weight .* is of type [IU]\d+, but only F64"):
            imported(tmp_path / "hf", tmp_path / "run")
        assert not (tmp_path / "run").exists()
        return
    run = imported(tmp_path / "hf", tmp_path / "run")
    np.testing.assert_array_equal(
        params_of(run)["final_norm"]["scale"], weights["model.norm.weight"].astype(np.float32)
    )


def test_the_card_names_no_path(tmp_path):
    build(tmp_path / "hf", "llama2")
    run = imported(tmp_path / "hf", tmp_path / "run")
    config = dataclasses.replace(
        run.config(),
        init_from=str(run.path),
        train=TrainConfig(steps=3),
        data=dataclasses.replace(run.config().data, files=f"{tmp_path}/x.txt"),
    )
    after = RunFolder(tmp_path / "after")
    after.claim(config, {"vocabulary": run.manifest()["vocabulary"]})
    checkpoints.save_params(after.checkpoints, 3, jax.tree.map(jax.numpy.asarray, params_of(run)), {})
    for folder in (run, after):
        export_run(folder, folder.saved_steps()[-1], tmp_path / f"out_{folder.name}", one_device())
    cards = [(tmp_path / name / "README.md").read_text() for name in ("out_run", "out_after")]
    assert not any(str(tmp_path) in card or "/tmp" in card for card in cards)
    assert "imported from hf, not trained" in cards[0]
    assert "pretrained on x.txt" in cards[1] and "started from step 0 of run\n- which came from hf" in cards[1]


def test_an_ascii_locale_hinders_no_tokenizer(tmp_path):
    build(tmp_path / "hf", "llama2")
    end = "<｜end▁of▁sentence｜>"
    change(tmp_path / "hf/tokenizer.json", lambda c: c["added_tokens"][1].update(content=end))
    (tmp_path / "hf/tokenizer_config.json").write_text(json.dumps({"eos_token": end}, ensure_ascii=False), "utf-8")
    content = json.loads((tmp_path / "hf/tokenizer.json").read_text())
    content["model"]["vocab"][end] = content["model"]["vocab"].pop("</s>")
    (tmp_path / "hf/tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    (tmp_path / "run").mkdir()
    code = (
        "import sys, pathlib as p; from pause_jax.tokenizers import tokenizer\n"
        "from pause_jax.interop import tokenizers as t\n"
        "a, b, c = map(p.Path, sys.argv[1:]); c.mkdir(); v = t.read_tokenizer(a, [], b)\n"
        "assert tokenizer.keep(v, c) == 'tokenizer.json'; assert tokenizer.load(str(c / 'tokenizer.json')).eos_id == 1"
    )
    environment = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    command = [sys.executable, "-c", code, tmp_path / "hf", tmp_path / "run", tmp_path / "kept"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr

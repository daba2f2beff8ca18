"""What a config leaves to the platform, as each platform has it; and old records that say it in other words."""

from __future__ import annotations

import dataclasses

import jax
import pytest

from pause_jax import config as configs
from pause_jax.aot import topologies
from pause_jax.config import Config, Execution, FinetuneConfig, RunConfig, from_config_dict
from pause_jax.config.model import resolve
from pause_jax.distributed.kernels import resolve_config
from pause_jax.errors import UserError


def executed(platform, **fields):
    run = resolve_config(from_config_dict(configs.to_dict(Config(**fields))), platform).run
    return dataclasses.astuple(run.execution), run.loss_chunk


def test_each_platform_has_its_own():
    assert executed("cpu") == (("cpu", "xla", "off", "none"), 0)
    assert executed("tpu") == (("tpu", "splash", "on", "dots"), 1024)
    assert executed("gpu") == (("gpu", "xla", "on", "dots"), 1024)
    assert executed("METAL") == (("reference", "xla", "on", "dots"), 1024)


def test_what_is_said_stays_as_it_is():
    said = RunConfig(execution=Execution("reference", "xla", "off", "full"), loss_chunk=0)
    assert executed("tpu", run=said) == (("reference", "xla", "off", "full"), 0)
    assert resolve(Execution(remat="full"), "gpu") == Execution("gpu", "xla", "on", "full")
    assert resolve(Execution(kernels="cpu"), "tpu").attention == "xla"  # the cpu's have no splash
    once = resolve_config(Config(), "tpu")
    assert resolve_config(once, "cpu") == once


def test_a_mask_of_each_rows_own_is_not_for_splash():
    several = FinetuneConfig(task="t", m_ft=(0, 5), attention="prefix_only", max_prompt_length=20)
    model = dataclasses.replace(Config().model, num_pause_tokens=1)
    assert executed("tpu", model=model, finetune=several)[0][1] == "xla"
    assert executed("tpu", model=model, finetune=dataclasses.replace(several, m_ft=(5,)))[0][1] == "splash"


def test_kernels_without_an_attention_kernel_are_refused():
    with pytest.raises(
        UserError, match=r"attention = 'splash' is no kernel of .*kernels = 'gpu', which has 'xla', 'cudnn'"
    ):
        Execution(kernels="gpu", attention="splash").validate()
    with pytest.raises(UserError, match=r"config\.run\.loss_chunk is -2"):
        RunConfig(loss_chunk=-2).validate()


def test_topologies_know_their_platform():
    assert topologies.parse("v5e:16x16").platform == "tpu" and topologies.parse("h100:8").platform == "gpu"


def test_records_of_older_code_are_read():
    """As runs of 2026-11 recorded it: switches of the CPU's, a bool, and the number of pauses among the pauses."""
    recorded = configs.to_dict(Config())
    recorded["run"]["execution"] = {
        "scan_layers": True,
        "remat": "dots",
        "attention": "xla",
        "attention_blocks": 4,
        "few_rows": 32,
        "row_major": True,
    }
    del recorded["model"]["num_pause_tokens"]
    recorded["pauses"]["n_pauses"] = 2
    read = configs.from_recorded(recorded)
    assert read.model.num_pause_tokens == 2
    assert read.run.execution == Execution("auto", "xla", "on", "dots")
    recorded["run"]["execution"]["scan_layers"] = False
    assert configs.from_recorded(recorded).run.execution.scan_layers == "off"


@pytest.mark.parametrize(
    ("section", "name", "sentence"),
    [
        (
            "execution",
            "row_major",
            r"execution\.row_major is gone: config\.run\.execution\.kernels says it",
        ),
        ("execution", "few_rows", r"few_rows is gone"),
    ],
)
def test_fields_that_are_gone_are_told(section, name, sentence):
    values = configs.default_values()
    values["run"][section][name] = 1
    with pytest.raises(UserError, match=sentence):
        from_config_dict(values)


def test_the_devices_of_this_machine():
    from pause_jax.config import ModelConfig
    from pause_jax.network import Network

    network = Network(ModelConfig(vocab_size=9))
    assert network.execution == resolve(Execution(), jax.default_backend()) == Network(network.config).execution
    assert hash(network) == hash(Network(ModelConfig(vocab_size=9))) and network == Network(ModelConfig(vocab_size=9))

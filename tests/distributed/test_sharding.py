import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from pause_jax import trees
from pause_jax.config import Config, MeshConfig, RunConfig
from pause_jax.config.model import Execution, ModelConfig
from pause_jax.distributed import global_batch, kernels, sharding
from pause_jax.distributed.mesh import make_mesh, mesh_shape, over_slices
from pause_jax.errors import UserError
from pause_jax.model import decoder
from pause_jax.model.partitioning import constrain
from pause_jax.training import initialize
from pause_jax.training.optimizer import make_optimizer

MODEL = ModelConfig(vocab_size=264, num_layers=2, d_model=64, num_heads=4, num_kv_heads=2, d_ff=128, max_positions=32)


def test_mesh_takes_what_is_left():
    assert mesh_shape(MeshConfig(), 8) == (8, 1, 1, 1)
    assert mesh_shape(MeshConfig(data=2, fsdp=-1, tensor=2), 16) == (2, 4, 2, 1)


@pytest.mark.parametrize(
    ("mesh", "whole"),
    [
        (MeshConfig(), MeshConfig(data=32, dcn_data=2)),
        (MeshConfig(data=1, fsdp=-1), MeshConfig(data=2, fsdp=16, dcn_data=2)),  # FSDP stays within a slice
        (MeshConfig(data=4, fsdp=4), MeshConfig(data=8, fsdp=4, dcn_data=2)),  # a layout of one slice
        (MeshConfig(data=8, fsdp=4), MeshConfig(data=8, fsdp=4, dcn_data=2)),  # of both
    ],
)
def test_a_mesh_goes_over_slices_along_data(mesh, whole):
    assert over_slices(mesh, slices=2, chips=16) == whole
    assert over_slices(whole, slices=2, chips=16) == whole
    with pytest.raises(UserError, match="does not fit 16 devices"):
        over_slices(MeshConfig(data=3), slices=2, chips=16)


@pytest.mark.parametrize("mesh", [MeshConfig(data=3), MeshConfig(data=-1, tensor=3), MeshConfig(data=4, fsdp=4)])
def test_mesh_that_does_not_fit_is_refused(mesh):
    with pytest.raises(UserError, match=r"config\.run\.mesh = .* does not fit 8 devices"):
        mesh_shape(mesh, 8)


def test_a_mesh_for_more_devices_than_a_cpu_counts_as_says_how_it_counts_as_more():
    with pytest.raises(UserError, match=r"does not fit 8 devices.*XLA_FLAGS=--xla_force_host_platform_device_count"):
        make_mesh(MeshConfig(data=3))


def test_every_parameter_lies_as_the_table_says():
    mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    specs = {
        path: s.spec
        for path, s in trees.flatten(
            sharding.param_shardings(dataclasses.replace(MODEL, num_pause_tokens=1), mesh)
        ).items()
    }
    assert specs["layers/attention/q/kernel"] == PartitionSpec(None, "fsdp", "tensor", None)
    assert specs["layers/attention/out/kernel"] == PartitionSpec(None, "tensor", None, "fsdp")
    assert specs["layers/mlp/down/kernel"] == PartitionSpec(None, "tensor", "fsdp")
    assert specs["token/embedding"] == PartitionSpec("tensor", "fsdp")
    assert specs["pause/embedding"] == PartitionSpec(None, "fsdp")


def test_optimizer_state_lies_as_its_parameters():
    mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    config = Config(model=dataclasses.replace(MODEL, num_pause_tokens=1))
    shardings = initialize.state_shardings(config, make_optimizer(config.optimizer), mesh)
    adam = shardings["opt_state"][1]
    assert trees.flatten(adam.mu) == trees.flatten(shardings["params"]) == trees.flatten(adam.nu)
    assert adam.count.spec == PartitionSpec()


def test_what_does_not_divide_is_refused_by_name():
    mesh = make_mesh(MeshConfig(data=1, fsdp=2, tensor=4))
    with pytest.raises(
        UserError, match=r"layers/attention/k/.*kv_heads = 2 is not divisible by config\.run\.mesh\.tensor = 4"
    ):
        sharding.param_shardings(MODEL, mesh)
    odd = dataclasses.replace(MODEL, vocab_size=259, num_kv_heads=4)
    with pytest.raises(
        UserError, match=r"token/embedding.*vocab = 259 is not divisible.*: set --config\.model\.vocab_size=26[04]"
    ):
        sharding.param_shardings(odd, mesh)


def test_collisions_and_unknown_axes_are_defects():
    mesh = make_mesh(MeshConfig())
    with pytest.raises(ValueError, match="use a mesh axis twice"):
        sharding.partition_spec("x", (8, 8), ("heads", "mlp"), mesh)
    with pytest.raises(ValueError, match="'nonsense' of dimension 1 has no rule"):
        sharding.partition_spec("x", (8, 8), ("embed", "nonsense"), mesh)


@pytest.mark.parametrize(("kernel", "device"), [("splash", "tpu"), ("cudnn", "gpu")])
def test_a_kernel_for_other_devices_is_refused(kernel, device):
    config = Config(model=MODEL, run=RunConfig(execution=Execution(attention=kernel)))
    with pytest.raises(UserError, match=rf"'{kernel}' is a kernel for devices of kind '{device}', but .* 'cpu': set"):
        initialize.check_config(config, make_mesh(MeshConfig()))


def test_heads_that_a_kernel_cannot_cut_are_refused(monkeypatch):
    """Whole rows on each device: along `sequence` the heads are cut too."""
    monkeypatch.setitem(kernels._PLATFORM, "splash", "cpu")
    config = Config(model=MODEL, run=RunConfig(execution=Execution(attention="splash")))
    kernels.check_kernels(config, make_mesh(MeshConfig(data=4, sequence=2)))
    with pytest.raises(UserError, match=r"num_kv_heads under the kernel 'splash'.* = 2 is not divisible by .* = 4"):
        kernels.check_kernels(config, make_mesh(MeshConfig(data=2, sequence=2, tensor=2)))


def test_a_length_that_does_not_divide_stays_whole_and_rows_must_divide():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, sequence=2))

    def spec(*shape):
        with sharding.with_mesh(mesh):
            return jax.jit(lambda x: constrain(x, "batch", "length", None))(np.zeros(shape)).sharding.spec

    assert spec(4, 6, 2) == PartitionSpec(("data", "fsdp"), "sequence")
    assert spec(4, 5, 2) == PartitionSpec(("data", "fsdp"))
    with pytest.raises(UserError, match=r"an activation, of shape \(3, 6, 2\), cannot be cut: its batch = 3"):
        spec(3, 6, 2)


def test_every_axis_the_network_names_has_a_rule():
    for config in (
        MODEL,
        dataclasses.replace(MODEL, positions="rope", mlp="swiglu", qk_norm=True, tie_embeddings=False),
    ):
        used = {
            axis
            for axes in decoder.logical_axes(dataclasses.replace(config, num_pause_tokens=1)).values()
            for axis in axes
        }
        assert used <= set(sharding.RULES)


@pytest.mark.parametrize("mesh", [MeshConfig(), MeshConfig(data=2, fsdp=2, sequence=2), MeshConfig(data=1, tensor=8)])
def test_batch_becomes_one_global_array(mesh):
    devices = make_mesh(mesh)
    rows = global_batch.process_rows(16, 32, devices)
    assert rows == list(range(16))  # one process holds them all
    local = {"inputs": np.arange(16 * 32, dtype=np.int32).reshape(16, 32)}
    out = global_batch.to_global(local, rows, 16, devices)["inputs"]
    np.testing.assert_array_equal(out, local["inputs"])
    assert out.sharding.spec == PartitionSpec(("data", "fsdp"), "sequence")


def test_batches_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match=r"batch_size = 12 is not divisible by .* = 8 devices times .*accumulation = 1"):
        global_batch.process_rows(12, 32, make_mesh(MeshConfig()))
    with pytest.raises(UserError, match=r"batch_size = 16 is not divisible by .* = 8 devices times .*accumulation = 4"):
        global_batch.process_rows(16, 32, make_mesh(MeshConfig()), accumulation=4)
    with pytest.raises(UserError, match=r"a row of 31 positions is not divisible by config\.run\.mesh\.sequence = 2"):
        global_batch.process_rows(16, 31, make_mesh(MeshConfig(sequence=2)))


def test_peaks_are_matched_by_the_longest_name():
    from pause_jax.aot.chips import peak_flops

    assert peak_flops("TPU v5 lite") == 197e12
    assert peak_flops("TPU v5p") == 459e12
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989.4e12
    assert peak_flops("cpu") is None
    assert len(jax.devices()) == 8


def test_the_next_batch_is_put_before_one_is_used():
    put = []
    ahead = global_batch.prefetch(iter([{"n": np.array(i)} for i in range(3)]), lambda b: put.append(int(b["n"])) or b)
    used = [(int(batch["n"]), list(put)) for batch in ahead]
    assert used == [(0, [0, 1]), (1, [0, 1, 2]), (2, [0, 1, 2])]

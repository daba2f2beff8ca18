"""What a sweep's config says of where it runs, and mistakes in it."""

from __future__ import annotations

import pytest

from pause_jax.aot.chips import CHIPS
from pause_jax.errors import UserError
from pause_jax.sweeps import execution
from pause_jax.sweeps.execution import Resources

GKE = {"executor": "gke", "gke": {"image": "i", "claim": "c"}}


def test_what_a_size_takes():
    how = execution.parse(
        {"resources": {"default": {"cpus": 2}, "1b": {"gpus": 8, "nodes": 2, "chip": "h100"}}}, ["1b"]
    )
    assert how.executor == "local" and how.of("") == how.of("130m") == Resources(cpus=2)
    assert how.of("1b") == Resources(gpus=8, nodes=2, chip="h100")
    assert how.chip("1b") is CHIPS["h100"] and how.chip("") is None
    assert execution.parse({}).of("x") == Resources()
    assert Resources(topology="2x4x4").hosts() == 8


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"executor": "pbs"}, "config.executor is 'pbs', but must be one of local, slurm, gke"),
        ({"slurm": 3}, "config.slurm is 3, but must be a dict"),
        ({"resources": {"2b": {}}}, "config.resources.2b names no size: there are default, 1b"),
        ({"resources": {"1b": {"gpu": 1}}}, "config.resources.1b.gpu is no setting: did you mean 'gpus'?"),
        ({"resources": {"1b": {"gpus": "8"}}}, "config.resources.1b.gpus is '8', but must be a whole number"),
        ({"resources": {"1b": {"nodes": 0}}}, "config.resources.1b.nodes is 0, but must be at least 1"),
        ({"resources": {"1b": {"chip": "v7"}}}, "config.resources.1b.chip is 'v7', which is not known"),
        ({"resources": {"1b": {"topology": "4*4"}}}, "topology is '4\\*4', but must be such as 4x4"),
        ({"executor": "gke"}, "config.gke.image is missing"),
        ({"gke": {"images": "x"}}, "config.gke.images is no setting: did you mean 'image'?"),
        ({**GKE}, "config.resources.default must have chip"),
        ({**GKE, "resources": {"1b": {"chip": "h100", "topology": "4x4"}}}, "config.resources.1b must have chip"),
        ({**GKE, "resources": {"default": {"chip": "v5e", "topology": "1x1"}}}, "topology 1x1 has fewer chips"),
        ({**GKE, "gke": GKE["gke"] | {"workdir": "/data/s"}}, "config.gke.workdir is '/data/s', but the claim"),
    ],
)
def test_mistakes(values, sentence):
    with pytest.raises(UserError, match=sentence):
        execution.parse(values, ["1b"])

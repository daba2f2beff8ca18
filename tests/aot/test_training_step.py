"""What a compiled step sends, and the roofline, against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pause_jax.aot import hlo, roofline, topologies
from pause_jax.aot.hlo import Collective
from pause_jax.errors import UserError

# As TPUs' compiler prints it. The outer loop runs 5 times by XLA's note; the inner one from 1 in steps of 2 while
# i < 8, so 4 times; the gather with channel 3 is spread over two fusions, and the fusion named so is a reduce-scatter.
HLO = (Path(__file__).parent / "step.hlo").read_text()


def test_collectives_count_as_often_as_their_loops_run():
    found = hlo.collectives(HLO)
    assert sorted(found, key=lambda c: (c.kind, c.times)) == [
        Collective("all-gather", 64 * 2 * 7, tuple(range(8)), 1),
        Collective("all-reduce", 2 * 110 * 4 * 7 / 8, tuple(range(8)), 1),
        Collective("all-reduce", 2 * 40 / 2, (0, 4), 5),
        Collective("collective-permute", 40, (0, 1), 5 * 4),
        Collective("reduce-scatter", 400 / 2, (0, 1), 1),
    ]
    assert hlo.bytes_by_kind(found) == {
        "all-gather": 896,
        "reduce-scatter": 200,
        "all-reduce": 770 + 200,
        "collective-permute": 800,
        "all-to-all": 0,
    }


def test_a_loop_of_unknown_length_is_refused_where_it_matters():
    endless = HLO.replace("direction=LT", "direction=NE")
    with pytest.raises(ValueError, match=r"how often the loop while\.5 runs"):
        hlo.collectives(endless)
    silent = endless.replace("collective-permute-start(", "copy-start(").replace(
        "collective-permute-done(", "copy-done("
    )
    assert {c.kind for c in hlo.collectives(silent)} == {"all-gather", "all-reduce", "reduce-scatter"}


@pytest.mark.parametrize(
    ("attributes", "group"),
    [
        ("replica_groups={{1,3},{0,2}}, x=1", (1, 3)),
        ("replica_groups=[2,4]<=[8]", (0, 1, 2, 3)),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", (0, 4)),
        ("replica_groups=[2,4]<=[2,2,2]T(2,0,1)", (0, 2, 4, 6)),
        ("replica_groups=mesh['a'=2,'b'=4] {'b'}", (0, 1, 2, 3)),
        ("replica_groups=mesh['a'=2,'b'=2,'c'=2] {'a','c'}", (0, 1, 4, 5)),
        ("replica_groups=mesh['a'=8] {'a':(1)2}", (0, 4)),
        ("replica_groups=mesh['a'=8] {'a':(2)4}", (0, 1, 2, 3)),
        ("replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}, x=1", (0, 1, 2, 3)),
        ("replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b'}, x=1", (0, 4)),
        ("source_target_pairs={{0,1},{1,2}}", (0, 1)),
        ("replica_groups={}", tuple(range(8))),
    ],
)
def test_groups(attributes, group):
    assert hlo._group(attributes, 8) == group


def test_topologies():
    assert topologies.parse("v5e:16x16").devices == 256
    pod = topologies.parse("v5p:16x16x16")
    assert (pod.devices, pod.node_size, pod.is_tpu, pod.chip.hbm_bytes) == (4096, 4096, True, 95e9)
    box, cluster = topologies.parse("h100:8"), topologies.parse("h100:4x8")
    assert (box.devices, box.node_size, box.is_tpu) == (8, 8, False)
    assert (cluster.devices, cluster.node_size) == (32, 8)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v9:4x4", "is not known: give v4:AxBxC"),
        ("v5e", "is not known"),
        ("v5e:4x4x4", "is not known"),
        ("v5p:4x4", "is not known"),
        ("v5e:4x", "is not known"),
        ("h100:0", "is not known"),
        ("v5e:32x16", "has 512 chips, but a pod of v5e has 256"),
    ],
)
def test_other_topologies_are_refused(name, message):
    with pytest.raises(UserError, match=f"--topology={name} {message}"):
        topologies.parse(name)


def test_roofline_by_hand():
    pod, exchange = topologies.parse("v5e:2x2"), [Collective("all-gather", 1e9, (0, 1, 2, 3), 3)]
    line = roofline.roofline(4 * 197e12 / 100, 819e9 / 1000, exchange, pod)
    assert dataclasses.astuple(line) == pytest.approx((0.01, 0.001, 3e9 / 200e9))
    assert line.seconds == line.links and line.bound_by(pod) == "ICI"
    assert roofline.roofline(4 * 197e12, 819e9 / 2, exchange, pod).bound_by(pod) == "compute"
    assert roofline.roofline(4 * 197e12, 819e9 * 2, exchange, pod).bound_by(pod) == "HBM"


def test_bandwidth_across_nodes_is_that_of_the_adapters():
    cluster = topologies.parse("h100:8x8")
    assert roofline.bandwidth(tuple(range(8)), cluster) == 450e9
    assert roofline.bandwidth((0, 8, 16), cluster) == 50e9  # one GPU a node: one adapter
    assert roofline.bandwidth((0, 1, 8, 9), cluster) == 100e9
    assert roofline.bandwidth(tuple(range(64)), cluster) == 400e9
    assert roofline.bandwidth((0, 8), topologies.parse("v5e:4x4")) == 200e9

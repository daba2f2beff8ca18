"""Published figures of accelerators, for MFU and for rooflines. An unknown device has none."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device, as JAX counts devices, with its maker's figures; GB are 10^9 bytes."""

    device_kinds: tuple[str, ...]  # how its `device_kind` starts
    flops: float  # dense bfloat16 FLOP/s
    hbm_bytes: float
    hbm_bandwidth: float  # bytes/s
    link_bandwidth: float  # bytes/s sent, over all its links together: ICI of TPUs, NVLink of GPUs
    network_bandwidth: float = 0.0  # bytes/s sent between nodes, a device's share; 0: all devices are on links


# TPUs: cloud.google.com/tpu/docs/v4, v5e, v5p, v6e. ICI is published per chip as Gbit/s each way (v4 2400, v5e 1600,
# v5p 4800) or as GB/s both ways (v6e 800). GPUs: NVIDIA's data sheets, SXM parts, no sparsity; NVLink is published both
# ways (900 GB/s); between nodes, the adapter of 400 Gbit/s (A100: 200) that DGX systems have for each GPU.
CHIPS = {
    "v4": Chip(("TPU v4",), 275e12, 32e9, 1200e9, 300e9),
    "v5e": Chip(("TPU v5 lite", "TPU v5e"), 197e12, 16e9, 819e9, 200e9),
    "v5p": Chip(("TPU v5p", "TPU v5"), 459e12, 95e9, 2765e9, 600e9),
    "v6e": Chip(("TPU v6 lite", "TPU v6e"), 918e12, 32e9, 1638e9, 400e9),
    "h100": Chip(("NVIDIA H100",), 989.4e12, 80e9, 3350e9, 450e9, 50e9),
    "h200": Chip(("NVIDIA H200",), 989.4e12, 141e9, 4800e9, 450e9, 50e9),
    "a100": Chip(("NVIDIA A100",), 312e12, 80e9, 2039e9, 300e9, 25e9),
}


def of(device_kind: str) -> Chip | None:
    """The chip with this `device_kind` of JAX; None when unknown, such as a CPU."""
    found = {kind: chip for chip in CHIPS.values() for kind in chip.device_kinds if device_kind.startswith(kind)}
    return found[max(found, key=len)] if found else None


def peak_flops(device_kind: str) -> float | None:
    """bfloat16 FLOP/s of one device, None when unknown."""
    chip = of(device_kind)
    return None if chip is None else chip.flops

"""Published peaks of accelerators, for MFU. An unknown device has no MFU rather than a guessed one."""

from __future__ import annotations

# Dense bfloat16 FLOP/s of one device as JAX counts devices, by the start of its `device_kind`.
# Sources: cloud.google.com/tpu/docs (system architecture pages) and NVIDIA's data sheets, SXM parts, no sparsity.
_PEAK_BF16_FLOPS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "NVIDIA H100": 989.4e12,
    "NVIDIA H200": 989.4e12,
    "NVIDIA A100": 312e12,
}


def peak_flops(device_kind: str) -> float | None:
    """bfloat16 FLOP/s of one device, None when unknown (a CPU, say)."""
    matches = [name for name in _PEAK_BF16_FLOPS if device_kind.startswith(name)]
    return _PEAK_BF16_FLOPS[max(matches, key=len)] if matches else None

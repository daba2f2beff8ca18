"""Reads what a compiled step sends between devices from the text of its optimized HLO.

An instruction within a loop counts as often as the loop runs: XLA's own cost analysis counts it once.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator

KINDS = ("all-gather", "reduce-scatter", "all-reduce", "collective-permute", "all-to-all")

_BITS = {
    "pred": 8,
    "s4": 4,
    "u4": 4,
    "s8": 8,
    "u8": 8,
    "s16": 16,
    "u16": 16,
    "bf16": 16,
    "f16": 16,
    "s32": 32,
    "u32": 32,
    "f32": 32,
    "s64": 64,
    "u64": 64,
    "f64": 64,
}
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_INSTRUCTION = re.compile(r"\s*(?P<root>ROOT )?%?(?P<name>[\w.-]+) = (?P<rest>.*)")
_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[\w.-]+) \(.*\{$")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective as one device sees it."""

    kind: str  # of `KINDS`
    bytes_sent: float  # by this device each time, in a ring: the least that any algorithm sends
    group: tuple[int, ...]  # the devices of the group that device 0, or the first listed, belongs to
    times: int  # in a step


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    arguments: str  # between the parentheses
    attributes: str  # behind them
    is_root: bool

    def attribute(self, name: str) -> str | None:
        match = re.search(rf"\b{name}=%?([\w.-]+)", self.attributes)
        return match[1] if match else None


_Computation = dict[str, _Instruction]


def collectives(text: str) -> list[Collective]:
    """All collectives of the module's entry, those within loops with the number of times that they run.

    Raises:
      ValueError: the text does not tell the number of iterations of a loop with a collective, or has groups of devices
        in an unknown form.
    """
    computations, entry = _parse(text)
    num_devices = int(match[1]) if (match := re.search(r"\bnum_partitions=(\d+)", text)) else 1
    seen: set[str] = set()
    return list(_walk(computations, entry, 1, num_devices, seen))


def bytes_by_kind(found: list[Collective]) -> dict[str, float]:
    """Bytes that a device sends a step, by kind of collective; kinds that do not occur are 0."""
    return {kind: sum(c.bytes_sent * c.times for c in found if c.kind == kind) for kind in KINDS}


def _walk(
    computations: dict[str, _Computation], name: str, times: int, num_devices: int, seen: set[str]
) -> Iterator[Collective]:
    computation = computations[name]
    for instruction in computation.values():
        kind = instruction.opcode.removesuffix("-start")
        if kind in KINDS:
            # TPUs spread one collective over several fusions, each of which names it with the same channel.
            channel = instruction.attribute("channel_id")
            if channel is None or channel not in seen:
                yield _collective(kind, instruction, computation, times, num_devices)
            seen.add(channel or "")
        elif instruction.opcode == "while":
            body = instruction.attribute("body") or ""
            inside = list(_walk(computations, body, 1, num_devices, seen))
            trips = _trip_count(instruction, computations, name) if inside else 0
            yield from (dataclasses.replace(c, times=c.times * times * trips) for c in inside)
        else:
            for called in _called(instruction):
                scattered = called.startswith("all-reduce-scatter")  # TPUs' way of writing a reduce-scatter
                for inside_one in _walk(computations, called, times, num_devices, seen):
                    yield _as_reduce_scatter(inside_one) if scattered else inside_one


def _called(instruction: _Instruction) -> list[str]:
    """Computations that the instruction runs once; functions of reductions are not among them."""
    if instruction.opcode == "conditional":
        match = re.search(r"branch_computations=\{([^}]*)\}", instruction.attributes)
        pair = [instruction.attribute(f"{branch}_computation") for branch in ("true", "false")]
        return re.findall(r"[\w.-]+", match[1]) if match else [name for name in pair if name]
    if instruction.opcode in ("fusion", "call", "async-start"):
        called = instruction.attribute("calls") or instruction.attribute("to_apply")
        return [called] if called else []
    return []


def _collective(
    kind: str, instruction: _Instruction, computation: _Computation, times: int, num_devices: int
) -> Collective:
    group = _group(instruction.attributes, num_devices)
    n = len(group)
    given = sum(_bytes(computation[name].type) for name in instruction.operands if name in computation)
    sent = {
        "all-gather": given * (n - 1),
        "reduce-scatter": given * (n - 1) / n,
        "all-reduce": 2 * given * (n - 1) / n,
        "collective-permute": given,
        "all-to-all": given * (n - 1) / n,
    }[kind]
    return Collective(kind, float(sent), group, times)


def _as_reduce_scatter(collective: Collective) -> Collective:
    return dataclasses.replace(collective, kind="reduce-scatter", bytes_sent=collective.bytes_sent / 2)


def _bytes(type_: str) -> int:
    """Bytes of an array, or of all arrays of a tuple."""
    total = 0
    for name, dims in _ARRAY.findall(type_):
        total += math.prod(map(int, filter(None, dims.split(",")))) * _BITS.get(name, 8) // 8
    return total


def _group(attributes: str, num_devices: int) -> tuple[int, ...]:
    """The first group of `replica_groups`, or the first pair of `source_target_pairs`."""
    if match := re.search(r"(?:replica_groups|source_target_pairs)=\{\{([\d,]+)\}", attributes):
        return tuple(map(int, match[1].split(",")))
    if match := re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", attributes):
        size = int(match[1].split(",")[-1])
        return tuple(_iota([int(x) for x in match[2].split(",")], match[3])[:size])
    mesh = r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))? \{([^}]*)\}"
    if match := re.search(mesh, attributes):
        places = _mesh_group(match[1], match[4])
        devices = _iota([int(x) for x in match[2].split(",")], match[3]) if match[2] else None
        return tuple(devices[place] for place in places) if devices else places
    if "replica_groups={}" in attributes:
        return tuple(range(num_devices))
    raise ValueError(f"groups of devices in a form that is not known: {attributes[:200]}")


def _iota(dims: list[int], transposed: str | None) -> list[int]:
    """0, 1, … in an array of `dims`, transposed, read in order."""
    order = [int(x) for x in transposed.split(",")] if transposed else list(range(len(dims)))
    strides = [math.prod(dims[d + 1 :]) for d in range(len(dims))]
    numbers = [0]
    for d in order:
        numbers = [number + i * strides[d] for number in numbers for i in range(dims[d])]
    return numbers


def _mesh_group(mesh: str, axes: str) -> tuple[int, ...]:
    """Places along `axes`, as in `'a','b':(1)2`, of the mesh `'a'=4,'b'=8`, from the first on."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", mesh)}
    names = list(sizes)
    numbers = [0]
    for name, before, part in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", axes):
        stride = math.prod(sizes[other] for other in names[names.index(name) + 1 :])
        size = int(part or sizes[name])
        stride *= sizes[name] // (int(before or 1) * size)
        numbers = [number + i * stride for number in numbers for i in range(size)]
    return tuple(numbers)


def _trip_count(loop: _Instruction, computations: dict[str, _Computation], caller: str) -> int:
    """How often a loop runs: as XLA notes it, or from a condition `i < constant` and a body with i + constant."""
    if match := re.search(r'"known_trip_count":\{"n":"?(\d+)', loop.attributes):
        return int(match[1])
    condition = computations[loop.attribute("condition") or ""]
    body = computations[loop.attribute("body") or ""]
    compare = _root(condition)
    if compare.opcode == "compare" and compare.attribute("direction") == "LT":
        counter, limit = (condition[name] for name in compare.operands)
        index = counter.attribute("index")
        end = _constant(limit, condition)
        start_operand = computations[caller][loop.operands[0]]
        if index is not None and start_operand.opcode == "tuple":
            start = _constant(computations[caller][start_operand.operands[int(index)]], computations[caller])
            following = body[_root(body).operands[int(index)]]
            steps = [_constant(body[name], body) for name in following.operands] if following.opcode == "add" else []
            known = [step for step in steps if step is not None]
            if start is not None and end is not None and len(known) == 1:
                return max(0, math.ceil((end - start) / known[0]))
    raise ValueError(f"the HLO does not tell how often the loop {loop.name} runs")


def _constant(instruction: _Instruction, computation: _Computation) -> int | None:
    while instruction.opcode in ("copy", "bitcast", "convert") and instruction.operands[0] in computation:
        instruction = computation[instruction.operands[0]]
    literal = re.fullmatch(r"-?\d+", instruction.arguments) if instruction.opcode == "constant" else None
    return int(literal[0]) if literal else None


def _root(computation: _Computation) -> _Instruction:
    return next(instruction for instruction in computation.values() if instruction.is_root)


def _parse(text: str) -> tuple[dict[str, _Computation], str]:
    """(computations by name, the entry's name)."""
    computations: dict[str, _Computation] = {}
    entry, current = "", None
    for line in text.splitlines():
        if not line.startswith(" "):
            header = _COMPUTATION.match(line)
            current = computations.setdefault(header["name"], {}) if header else None
            entry = header["name"] if header and header["entry"] else entry
        elif current is not None and (match := _INSTRUCTION.match(line)):
            instruction = _instruction(match["name"], match["rest"], bool(match["root"]))
            current[instruction.name] = instruction
    return computations, entry


def _instruction(name: str, rest: str, is_root: bool) -> _Instruction:
    """An instruction from the text after the `=`: TYPE OPCODE(ARGUMENTS), ATTRIBUTES."""
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    opening = rest.index("(", end)
    closing = _closing(rest, opening)
    arguments = rest[opening + 1 : closing]
    operands = tuple(re.findall(r"%([\w.-]+)", arguments))
    return _Instruction(name, rest[:end], rest[end:opening].strip(), operands, arguments, rest[closing + 1 :], is_root)


def _closing(text: str, opening: int) -> int:
    """Where the parenthesis that opens at `opening` closes."""
    depth = 0
    for i in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    raise ValueError(f"unbalanced parentheses in {text[:80]!r}")

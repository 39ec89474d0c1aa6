"""The flat netlist of an assembly, put together from the circuits of its parts and its glue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from carrysave.hardware.library import Library
from carrysave.hardware.netlist import Instance, Netlist, sort_topologically
from carrysave.hardware.rtl import module_name
from carrysave.hardware.units.assembly import Assembly, Glue, pin
from carrysave.hardware.units.base import CLOCK, RESET, Unit


def places(assembly: Assembly, prefix: str = "") -> Iterator[tuple[str, Unit]]:
    """(path, unit) of every part that is no assembly, and of every `Glue`: that of the whole has the path ""."""
    yield prefix, Glue(of=assembly)
    for name, unit in assembly.parts.items():
        path = f"{prefix}/{name}" if prefix else name
        if isinstance(unit, Assembly):
            yield from places(unit, path)
        else:
            yield path, unit


def pieces(assembly: Assembly) -> Counter[Unit]:
    """How often each part that is no assembly, and each `Glue`, stands in the whole."""
    return Counter(unit for _, unit in places(assembly))


def flat_netlist(assembly: Assembly, circuits: Mapping[Unit, Netlist], library: Library) -> Netlist:
    """The whole, given the circuit of each piece; a net inside a part is named path/net.

    Raises NetlistError where the circuits do not fit together.
    """
    instances: list[Instance] = []
    for path, unit in places(assembly):
        ends = _ends(unit.of) if isinstance(unit, Glue) else {}
        names: dict[str, str] = {}
        for instance in circuits[unit].instances:
            for _, net in (*instance.inputs, *instance.outputs):
                if net not in names:
                    names[net] = _name(path, net, ends)
            instances.append(
                Instance(
                    instance.cell,
                    tuple((p, names[net]) for p, net in instance.inputs),
                    tuple((p, names[net]) for p, net in instance.outputs),
                )
            )
    inputs = (*([CLOCK] if assembly.clocked else []), *port_nets(assembly.ports))
    outputs = port_nets(assembly.outputs)
    order = sort_topologically(instances, inputs, outputs, library)
    return Netlist(module_name(assembly.spec), inputs, outputs, order)


def port_nets(widths: Mapping[str, int]) -> tuple[str, ...]:
    """The nets of ports, as Yosys names them."""
    return tuple(port if width == 1 else f"{port}[{bit}]" for port, width in widths.items() for bit in range(width))


def _ends(assembly: Assembly) -> dict[str, str]:
    """The name that each port of its parts has in a glue: place__port, as it is in the flat netlist: place/port."""
    return {
        pin(place, port): f"{place}/{port}"
        for place, unit in assembly.parts.items()
        for port in (*unit.inputs, *unit.outputs)
    }


def _name(path: str, net: str, ends: Mapping[str, str]) -> str:
    if net in (CLOCK, RESET):
        return net
    port, bracket, bit = net.partition("[")
    local = ends.get(port, port) + bracket + bit
    return f"{path}/{local}" if path else local

"""From one definition to gates: RTL, synthesis, the proved netlist, and what it costs.

`rtl` writes a multiplier as RTLIL or Verilog, `synthesis` maps it onto a standard-cell library with Yosys and ABC,
`netlist` proves the mapped gates against the definition, `cost` sums up. `liberty` reads libraries, `cells` holds the
built-in one. `units` are other pieces with ports, some with registers: `registers` maps them, `flops` runs their
netlists, `proof` proves them, `unit_cost` and `clocked_power` cost them; `fpga` maps any of them onto LUTs. Nothing
here imports torch; amaranth and pyosys are loaded by the functions that need them.
"""

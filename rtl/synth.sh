#!/usr/bin/env bash
# Lints every module and synthesises each block with and without gating: cells by yosys, memories apart, in a table.
#
# NAND2 equivalents are those of a usual cell library: an inverter 0.67, NAND and NOR 1, AND and OR 1.33, the compound gates
# 1.33 to 2, XOR and a multiplexer 2.33, a flip-flop 5.67 and 2 for an enable.
set -euo pipefail
cd "$(dirname "$0")"

lint() {
  for file in *.sv test/*.sv; do
    verilator --lint-only -Wall --top-module "$(basename "$file" .sv)" -y . -y test "$file"
  done
  echo 'lint: clean'
}

# A block's cells: generic gates, flip-flops, NAND2 equivalents, bits of memory.
cells() {
  local top=$1 set=''
  shift
  for parameter in "$@"; do set+="chparam -set ${parameter/=/ } $top; "; done
  # As `synth` does it, but for turning memories into flip-flops.
  yosys -Q -w . -p "
    read_verilog -sv *.sv
    $set hierarchy -top $top
    proc; flatten; opt_expr; opt_clean; opt -nodffe -nosdff; wreduce; peepopt; opt_clean
    alumacc; share; opt; memory -nomap; opt_clean; opt -fast -full
    opt -undriven -fine; techmap; opt -fast; abc; opt -fast; opt_clean
    dump t:\$mem_v2; stat" | awk -v name="$top ${*:-}" '
    /^ *\$_NOT_/ { gates += $2; area += 0.67 * $2 }
    /^ *\$_(NAND|NOR)_/ { gates += $2; area += $2 }
    /^ *\$_(AND|OR|ANDNOT|ORNOT)_/ { gates += $2; area += 1.33 * $2 }
    /^ *\$_(AOI3|OAI3)_/ { gates += $2; area += 1.33 * $2 }
    /^ *\$_(AOI4|OAI4)_/ { gates += $2; area += 2 * $2 }
    /^ *\$_(XOR|XNOR|MUX)_/ { gates += $2; area += 2.33 * $2 }
    /^ *\$_S?DFF_/ { flops += $2; area += 5.67 * $2 }
    /^ *\$_(S?DFFE|SDFFCE)_/ { flops += $2; area += 7.67 * $2 }
    /parameter .SIZE/ { words = $3 }
    /parameter .WIDTH/ { bits += words * $3 }
    END { printf "| %s | %d | %d | %d | %d |\n", name, gates, flops, area, bits }'
}

blocks() {
  for gated in 0 1; do
    cells mac_cell GATED=$gated
    cells mac_cell W_BITS=16 X_BITS=16 SUM_BITS=48 GATED=$gated
  done
  cells requantizer
  for gated in 0 1; do cells eie_pe COUNTERS=0 GATED=$gated; done
  [ "$what" = quick ] && return
  cells eie_scan
  for gated in 0 1; do cells sparse_group COUNTERS=0 GATED=$gated; done
}

# `lint`, `quick` (blocks that take seconds), or all.
what=${1:-all}
[ "$what" = quick ] || lint
[ "$what" = lint ] && exit
echo
echo '| block | gates | flip-flops | NAND2 equivalents | bits of memory |'
echo '|---|---|---|---|---|'
blocks

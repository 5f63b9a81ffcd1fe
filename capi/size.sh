#!/usr/bin/env bash
# What the engine takes on a device: the static library alone, without ONNX, and what it adds to a program.
#   capi/size.sh [ARGUMENT of cargo build...]
# Fails where either is above 2 MB, stripped.
set -euo pipefail
cd "$(dirname "$0")/.."
most=2000000
# Nobody looks for the way back through a stack that no panic unwinds.
export RUSTFLAGS="${RUSTFLAGS-} -C force-unwind-tables=no"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Of this one form only, because what is also made for Rust (`rlib`) is not optimised as a whole.
cargo rustc --quiet --profile device -p secateur-capi --lib --crate-type staticlib --no-default-features --locked "$@"
library=${CARGO_TARGET_DIR:-target}/device/libsecateur_c.a
strip --strip-unneeded -o "$folder/library.a" "$library"

link() { cc -Os -Icapi/include "$1" "${@:3}" -Wl,--gc-sections -s -lpthread -ldl -lm -o "$2"; }
echo 'int main(void) { return 0; }' >"$folder/empty.c"
link "$folder/empty.c" "$folder/empty"
link capi/examples/classify.c "$folder/classify" "$library"

bytes() { stat -c %s "$1"; }
archive=$(bytes "$folder/library.a")
adds=$(($(bytes "$folder/classify") - $(bytes "$folder/empty")))
echo "libsecateur_c.a, stripped: $archive bytes"
echo "the example beside an empty program, stripped: $adds bytes more"
[ "$archive" -le $most ] && [ "$adds" -le $most ]

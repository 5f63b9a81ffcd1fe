#!/usr/bin/env bash
# The library for a device, `.sct` alone and without AVX-512, and what it takes:
#   capi/size.sh        with the standard library as it comes
#   capi/size.sh std    with one that is compiled for size, too; fails where a program grows by more than 2 MB
# The latter needs the sources of the standard library, for which Debian has the packages rustc-web, cargo-web and rust-web-src:
#   RUSTC=/usr/bin/rustc CARGO=/usr/bin/cargo capi/size.sh std
set -euo pipefail
cd "$(dirname "$0")/.."
out=${CARGO_TARGET_DIR:-target}
what=(--profile device -p secateur-capi --lib --no-default-features --locked)
if [ "${1-}" = std ]; then
  export RUSTC_BOOTSTRAP=1
  host=$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')
  what+=(--target "$host" -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size)
  out+=/$host
fi
# Nobody looks for the way back through a stack that no panic unwinds: its tables are left out.
export RUSTFLAGS="${RUSTFLAGS-} -C force-unwind-tables=no"
# Of this one form only, because what is also made for Rust (`rlib`) is not optimised as a whole.
"${CARGO:-cargo}" rustc --quiet "${what[@]}" --crate-type staticlib
library=$out/device/libsecateur_device.a
strip --strip-unneeded -R .eh_frame -R '.gcc_except_table*' -o "$library" "$out/device/libsecateur_c.a"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
link() { cc -Os -Icapi/include "$1" "${@:3}" -Wl,--gc-sections -s -lpthread -ldl -lm -o "$2"; }
echo 'int main(void) { return 0; }' >"$folder/empty.c"
link "$folder/empty.c" "$folder/empty"
link capi/examples/classify.c "$folder/classify" "$library"

bytes() { stat -c %s "$1"; }
adds=$(($(bytes "$folder/classify") - $(bytes "$folder/empty")))
echo "$library: $(bytes "$library") bytes"
echo "the example, stripped, beside an empty program: $adds bytes more"
[ "${1-}" != std ] || [ $adds -le 2000000 ]

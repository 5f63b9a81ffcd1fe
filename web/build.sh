#!/usr/bin/env bash
# Builds the page into web/dist: the engine for WebAssembly, and the files of web/page as they are.
#   web/build.sh             says what is missing, with status 3, and installs nothing
#   web/build.sh --install   installs it first, with apt-get, as root
# Toolchains of rustup come without a standard library for WebAssembly where it cannot be fetched; Debian's brings
# the library's source, from which cargo builds it.
set -euo pipefail
web=$(cd "$(dirname "$0")" && pwd)
cd "$web/.."

packages=(rustc-web cargo-web rust-web-src lld-16)
missing() {
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" = 'install ok installed' ] || echo "$package"
  done
}
if [ "${1:-}" = --install ] && [ -n "$(missing)" ]; then
  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${packages[@]}"; } \
    >/dev/null 2>&1 || true
fi
if [ -n "$(missing)" ]; then
  echo "web/build.sh: not there:" $(missing) '(--install installs them)' >&2
  exit 3
fi

# A folder of its own: the other compiler would build everything anew.
target=${CARGO_TARGET_DIR:-target}/web
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-16
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS='-C target-feature=+simd128 -C strip=symbols'
dist=$web/dist
rm -rf "$dist"
mkdir -p "$dist"
cp -r "$web"/page/. "$dist"
# Two modules, as one with instructions that a browser lacks is none to it.
engine() {
  /usr/bin/cargo build --release --locked --package secateur-web --target wasm32-unknown-unknown \
    -Zbuild-std=std,panic_abort --target-dir "$target" "${@:2}"
  cp "$target/wasm32-unknown-unknown/release/secateur_web.wasm" "$dist/$1.wasm"
}
engine engine
engine engine-relaxed --features relaxed-simd

# The service worker keeps these files; a version made of their bytes tells it when there are others.
cd "$dist"
mapfile -t files < <(find . -type f ! -name sw.js -printf '%P\n' | LC_ALL=C sort)
version=$(cat sw.js "${files[@]}" | sha256sum | cut -c1-16)
sed -i "s|@VERSION@|$version|; s|@FILES@|./ ${files[*]}|" sw.js
echo "web/dist: $(du -sh --apparent-size . | cut -f1), of which each engine $(stat -c %s engine.wasm) bytes"

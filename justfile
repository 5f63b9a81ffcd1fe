# Everyday commands; `just` lists them.
default:
    @just --list

# What a change must pass.
ci:
    .ci/run

# The tests alone.
test:
    cargo test --release --workspace

# The main job, end to end.
demo:
    cargo run --release -- demo

# Format and lint.
tidy:
    cargo fmt --all
    cargo clippy --release --workspace --all-targets -- -D warnings

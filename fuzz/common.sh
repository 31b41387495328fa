# For the scripts beside it, which run in the repository's root: where things are and how the targets are built.
target_dir=${CARGO_TARGET_DIR:-$PWD/fuzz/target}/fuzz
missing() {
  echo "$0: $1 is missing; install it with: $2" >&2
  exit 1
}
cargo +nightly --version >/dev/null 2>&1 || missing "the nightly compiler" "rustup toolchain install nightly"
cargo fuzz --version >/dev/null 2>&1 || missing cargo-fuzz "cargo install cargo-fuzz --locked"

all_targets() {
  (cd fuzz/fuzz_targets && printf '%s\n' *.rs | sed 's/\.rs$//')
}

build() {
  local target
  for target in "$@"; do cargo +nightly fuzz build --target-dir "$target_dir" "$target"; done
}

binary() {
  echo "$target_dir/$(rustc +nightly -vV | sed -n 's/^host: //p')/release/$1"
}

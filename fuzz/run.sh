#!/usr/bin/env bash
# fuzz/run.sh SECONDS [TARGET...]: runs each target (all by default) for so long; exits 1 if one finds
# something, which then lies in fuzz/artifacts. Needs the nightly compiler and cargo-fuzz. Seeds are files that
# Kafka wrote, configuration as people write it and, when Kafka's jars and Java are there, messages out of its own
# codec.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
target_dir=${CARGO_TARGET_DIR:-$PWD/fuzz/target}/fuzz
jars=${XDG_CACHE_HOME:-$HOME/.cache}/millstream/kafka-4.3.1/libs
missing() {
  echo "fuzz/run.sh: $1 is missing; install it with: $2" >&2
  exit 1
}
cargo +nightly --version >/dev/null 2>&1 || missing "the nightly compiler" "rustup toolchain install nightly"
cargo fuzz --version >/dev/null 2>&1 || missing cargo-fuzz "cargo install cargo-fuzz --locked"
fuzz() { cargo +nightly fuzz "$1" --target-dir "$target_dir" "${@:2}"; }

[ $# -gt 0 ] || mapfile -t targets < <(cd fuzz/fuzz_targets && printf '%s\n' *.rs | sed 's/\.rs$//')
[ $# -eq 0 ] || targets=("$@")

seeded=yes
for target in "${targets[@]}"; do [ -d "fuzz/corpus/$target" ] || seeded=no; done
if [ "$seeded" = no ]; then
  kraft=$PWD/crates/metadata/tests/fixtures/kafka-4.3.1
  seeds=("$PWD"/crates/record/tests/fixtures/*.bin "$kraft"/*/{quorum-state,*.log,*.checkpoint} "$PWD"/fuzz/seeds/*)
  if [ -d "$jars" ] && command -v java >/dev/null; then
    messages=$(mktemp)
    trap 'rm -f "$messages"' EXIT
    java -cp "$jars/*" conformance/codec/Messages.java write 1 3 "$messages"
    seeds+=("$messages")
  fi
  (cd fuzz && cargo +nightly run -q --target-dir "$target_dir" --bin seeds -- corpus "${seeds[@]}")
fi
for target in "${targets[@]}"; do
  mkdir -p "fuzz/corpus/$target"
  fuzz run "$target" -- -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -max_len=65536 -print_final_stats=1
done

#!/usr/bin/env bash
# fuzz/run.sh SECONDS [TARGET...]: runs each target (all by default) for so many seconds of processor time, as many at
# once as there are processors (JOBS=N for another number). An input that takes longer than ten seconds is a finding
# (TIMEOUT=N for another number, where the machine has other work). Exits 1 if one finds something, which then lies in
# fuzz/artifacts. What each did is in fuzz/artifacts/TARGET.log and, a line each, on standard output.
#
# Needs the nightly compiler and cargo-fuzz. It begins with the corpus that was kept (fuzz/keep.sh) and with seeds:
# files that Kafka wrote, configuration as people write it and, when Kafka's jars and Java are there, messages out of
# its own codec.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
. fuzz/common.sh
[ $# -gt 0 ] || mapfile -t targets < <(all_targets)
[ $# -eq 0 ] || targets=("$@")

unseeded=no
for target in "${targets[@]}"; do
  [ ! -d "fuzz/corpus/$target" ] || continue
  unseeded=yes
  mkdir -p "fuzz/corpus/$target"
  [ ! -f "fuzz/kept/$target.tar.xz" ] || tar -xJf "fuzz/kept/$target.tar.xz" -C "fuzz/corpus/$target"
done
if [ "$unseeded" = yes ]; then
  jars=${XDG_CACHE_HOME:-$HOME/.cache}/millstream/kafka-4.3.1/libs
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

processor_seconds() {
  local fields
  read -r -a fields < "/proc/$1/stat" || return
  echo $(((fields[13] + fields[14]) / $(getconf CLK_TCK)))
}

stat_of() {
  sed -n "s/^stat::$2: *//p" "fuzz/artifacts/$1.log"
}

# Nothing of it goes on behind whoever ends it.
trap 'trap - TERM; kill 0' INT TERM

# Runs one target; USR1 asks it to end and to say what it did. Should nobody be there to ask, the limit ends it.
run() {
  local target=$1 fuzzer spent outcome=0
  mkdir -p "fuzz/artifacts/$target"
  ulimit -t $((seconds + 60))
  "$(binary "$target")" -artifact_prefix="fuzz/artifacts/$target/" -rss_limit_mb=2048 -timeout="${TIMEOUT:-10}" \
    -max_len=65536 -print_final_stats=1 "fuzz/corpus/$target" > "fuzz/artifacts/$target.log" 2>&1 &
  fuzzer=$!
  while spent=$(processor_seconds "$fuzzer" 2>/dev/null); do
    [ "$spent" -lt "$seconds" ] || kill -USR1 "$fuzzer" 2>/dev/null || true
    sleep 2
  done
  wait "$fuzzer" || outcome=$?
  local found="nothing found"
  [ "$outcome" = 0 ] || found="FOUND SOMETHING (exit $outcome): fuzz/artifacts/$target.log"
  echo "$target: $(stat_of "$target" number_of_executed_units) executions, $(find "fuzz/corpus/$target" -type f | wc -l) in the corpus, $found"
  return "$outcome"
}

build "${targets[@]}"
failed=no
for target in "${targets[@]}"; do
  while [ "$(jobs -pr | wc -l)" -ge "${JOBS:-$(nproc)}" ]; do wait -n || failed=yes; done
  run "$target" &
done
while [ -n "$(jobs -pr)" ]; do wait -n || failed=yes; done
[ "$failed" = no ]

#!/usr/bin/env bash
# fuzz/keep.sh [TARGET...]: of each corpus (all by default), what it takes to reach all that it reaches, packed into
# fuzz/kept for fuzz/run.sh to begin with.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. fuzz/common.sh
[ $# -gt 0 ] || mapfile -t targets < <(all_targets)
[ $# -eq 0 ] || targets=("$@")
build "${targets[@]}"
mkdir -p fuzz/kept
for target in "${targets[@]}"; do
  [ -d "fuzz/corpus/$target" ] || continue
  least=$(mktemp -d)
  trap 'rm -rf "$least"' EXIT
  "$(binary "$target")" -merge=1 -rss_limit_mb=2048 -max_len=65536 "$least" "fuzz/corpus/$target" > /dev/null 2>&1
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cJf "fuzz/kept/$target.tar.xz" -C "$least" .
  echo "$target: $(find "$least" -type f | wc -l) of $(find "fuzz/corpus/$target" -type f | wc -l) inputs kept"
  rm -rf "$least"
done

#!/usr/bin/env bash
# Installs what the black-box tests need: a real Apache Kafka and the clients that judge the broker, each
# pinned, into $XDG_CACHE_HOME/millstream (default ~/.cache/millstream). Done parts are left alone, so it
# is cheap to call before every run. As root on Debian it also installs the system packages that are
# missing; elsewhere it names them. Exit 0: all there; 1: something is missing (said on stderr).
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: conformance/install.sh [--quiet] PART...
  test          what `make test` needs: kafka strace faketime fuse zsh fish kafka-python confluent-kafka java franz-go kafkajs
  conformance   what `make conformance` needs: test kafka-python-2 aiokafka java-2.8 sarama kcat
  or any of these parts by name
TEXT
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/millstream
quiet=''
missing=()

say() { [ -n "$quiet" ] || echo "install: $*" >&2; }

# apt PACKAGE...: installs Debian packages when we are root on Debian.
apt() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  say "apt-get install $*"
  apt-get -qq update >/dev/null 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" >/dev/null 2>&1
}

# need COMMAND PACKAGE PART: true when the command is there, after installing its package if we may.
need() {
  command -v "$1" >/dev/null || { apt "$2" && hash -r && command -v "$1" >/dev/null; } && return
  missing+=("$3: the command $1 (Debian package $2)")
  return 1
}

# fresh NAME FILE...: true when NAME was not yet installed from exactly these pins; sets dir and stamp.
fresh() {
  dir=$cache/clients/$1; [ "$1" = kafka ] && dir=$cache/kafka-4.3.1
  shift
  stamp=$dir/.complete-$(cat "$@" | sha256sum | cut -c1-16)
  [ -e "$stamp" ] && return 1
  rm -rf "$dir"; mkdir -p "$dir"
}

complete() { touch "$dir/.complete" "$stamp"; say "installed $dir"; }

jars() { # NAME POM
  need java openjdk-17-jdk-headless "$1" && need mvn maven "$1" || return 0
  fresh "$1" "$2" || return 0
  say "fetching the jars of $1 from Maven Central"
  mvn -q -B -f "$2" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DoutputDirectory="$dir/libs" -DincludeScope=runtime >&2
  complete
}

python() { # NAME REQUIREMENTS
  need python3 python3 "$1" || return 0
  fresh "$1" "$2" || return 0
  say "making the Python environment of $1"
  local venv=$dir/venv
  # Debian keeps what venv needs in a package of its own.
  python3 -m venv "$venv" >/dev/null 2>&1 || { apt python3-venv && python3 -m venv --clear "$venv" >/dev/null 2>&1; } \
    || { missing+=("$1: Python's venv module (Debian package python3-venv)"); return 0; }
  "$venv/bin/pip" -q --disable-pip-version-check install -r "$2" >&2
  complete
}

golang() { # NAME
  need go golang-go "$1" || return 0
  local source=$here/clients/go
  fresh "$1" "$source"/go.mod "$source"/go.sum "$source"/cases/*.go "$source/$1"/*.go || return 0
  say "building $1"
  (cd "$source" && go build -o "$dir/$1" "./$1") >&2 \
    || { missing+=("$1: a Go as new as $source/go.mod says, not $(go version)"); return 0; }
  complete
}

kafkajs() {
  need node nodejs kafkajs && need npm npm kafkajs || return 0
  local source=$here/clients/kafkajs
  fresh kafkajs "$source/package-lock.json" || return 0
  say "fetching kafkajs"
  cp "$source/package.json" "$source/package-lock.json" "$dir/"
  (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
  complete
}

part() {
  case $1 in
    test) for p in kafka strace faketime fuse zsh fish kafka-python confluent-kafka java franz-go kafkajs; do part "$p"; done;;
    conformance) for p in test kafka-python-2 aiokafka java-2.8 sarama kcat; do part "$p"; done;;
    kafka | java) jars kafka "$here/kafka/pom.xml";;
    java-2.8) jars java-2.8 "$here/clients/java-2.8/pom.xml";;
    kafka-python | kafka-python-2 | confluent-kafka | aiokafka) python "$1" "$here/clients/python/requirements-$1.txt";;
    franz-go | sarama) golang "$1";;
    kafkajs) kafkajs;;
    kcat) need kcat kcat kcat || true;;
    strace | faketime | zsh | fish) need "$1" "$1" "$1" || true;;
    # The tests mount by themselves as root; others need the helper.
    fuse)
      [ -e /dev/fuse ] || missing+=("fuse: the device /dev/fuse (modprobe fuse, or give it to the container)")
      [ "$(id -u)" = 0 ] || need fusermount3 fuse3 fuse || true;;
    *) usage >&2; exit 2;;
  esac
}

[ "${1:-}" = --quiet ] && { quiet=1; shift; }
[ $# -gt 0 ] || { usage >&2; exit 2; }
mkdir -p "$cache/clients"
exec 9>"$cache/install.lock"
flock 9
for p in "$@"; do part "$p"; done
[ ${#missing[@]} = 0 ] && exit
printf 'install: missing for %s\n' "${missing[@]}" >&2
exit 1

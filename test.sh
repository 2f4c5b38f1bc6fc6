#!/usr/bin/env bash
# The one test command. `./test.sh` runs everything that fits a coffee break; `./test.sh --long` adds the long rounds.
# On a fresh Debian machine it installs what it needs (as root, with apt-get) or names what is missing.
set -uo pipefail
cd "$(dirname "$0")" || exit 1

long=0
case "${1:-}" in
  "") ;;
  --long) long=1 ;;
  *) echo "usage: ./test.sh [--long]" >&2; exit 2 ;;
esac

logs=$(mktemp -d "${TMPDIR:-/tmp}/pulsewire-test.XXXXXX")
started=$SECONDS
step_seconds=1500
[ $long = 0 ] || step_seconds=7200
passed=0 failed=0
skipped=() failures=()
# Without colours, so that results can be counted; and no build without its page.
export NO_COLOR=1 DASHBOARD=require CARGO_TERM_COLOR=never PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1
# What is built once is built faster without notes for the next time.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0

say() { printf '\n== %s\n' "$*"; }

# step NAME COMMAND…: runs it, keeps its output, shows the end of it when it fails.
step() {
  say "$1"
  begin "$@"
  join
}

# beside NAME COMMAND…: a step that goes on beside those that follow, until `join` after the last of them.
beside() {
  say "$1 (beside what follows)"
  begin "$@"
}

names=() logs_of=() begun=() pids=()
begin() {
  local log="$logs/${#failures[@]}-${#names[@]}-$SECONDS.log"
  names+=("$1") logs_of+=("$log") begun+=("$SECONDS")
  shift
  # What hangs ends, with a word about where.
  timeout -k 30 "$step_seconds" "$@" >"$log" 2>&1 &
  pids+=($!)
}

# Waits for the step that began last.
join() {
  local last=$((${#names[@]} - 1))
  local name=${names[last]} log=${logs_of[last]} from=${begun[last]} pid=${pids[last]}
  unset "names[last]" "logs_of[last]" "begun[last]" "pids[last]"
  if wait "$pid"; then
    grep -E '^test result|passed|warning: dashboard' "$log" | grep -v ' 0 passed; 0 failed' | tail -n 60
    echo "   ok, $((SECONDS - from)) s: $name"
  else
    tail -n 80 "$log"
    echo "   FAILED: $name (whole output: $log)"
    failures+=("$name")
  fi
  count "$log"
}

# Adds up what the runners say: cargo test, vitest, playwright, our Python script.
count() {
  local line
  while read -r line; do
    passed=$((passed + $(sed -E 's/.* ([0-9]+) passed;.*/\1/' <<<"$line")))
    failed=$((failed + $(sed -E 's/.* ([0-9]+) failed;.*/\1/' <<<"$line")))
    local ignored; ignored=$(sed -E 's/.* ([0-9]+) ignored;.*/\1/' <<<"$line")
    [ "$ignored" = 0 ] || skipped+=("$ignored ignored Rust tests")
  done < <(grep -E '^test result: ' "$1")
  while read -r line; do passed=$((passed + line)); done < <(sed -nE 's/^ +Tests .*[^0-9]([0-9]+) passed.*/\1/p; s/^ +Tests +([0-9]+) passed.*/\1/p; s/^ +([0-9]+) passed( \(.*)?$/\1/p' "$1" | sort -u)
  while read -r line; do skipped+=("$line"); done < <(sed -n 's/^not run: //p' "$1")
  while read -r line; do failed=$((failed + line)); done < <(sed -nE 's/^ +Tests +([0-9]+) failed.*/\1/p; s/^ +([0-9]+) failed$/\1/p' "$1")
}

# get COMMAND PACKAGE [ARGUMENT…]: whether a program is there, and succeeds with these arguments, or could be installed.
get() {
  has "$1" "${@:3}" && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    [ -e "$logs/updated" ] || { apt-get update -qq >/dev/null 2>&1; touch "$logs/updated"; }
    echo "installing $2"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >"$logs/apt.log" 2>&1
  fi
  has "$1" "${@:3}"
}

has() {
  command -v "$1" >/dev/null 2>&1 && { [ $# = 1 ] || "$@" >/dev/null 2>&1; }
}

# need COMMAND PACKAGE: nothing is tested without it.
need() { get "$1" "$2" || missing+=("$1 (Debian package $2)"); }

at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

say "what the tests need"
missing=()
need cc gcc
need python3 python3
need node nodejs
need npm npm
need chromium chromium
# Its rule tests say what Prometheus would have done.
need promtool prometheus
# The push checks make certificates, let a server live faster, and verify with Python packages beside npm's; without the last
# they go on and say so.
need openssl openssl
need faketime faketime
get python3 python3-venv -c 'import ensurepip'
command -v cargo >/dev/null 2>&1 || missing+=("cargo 1.95 or newer (rustup)")
[ ${#missing[@]} -gt 0 ] || {
  at_least "$(cargo --version | cut -d' ' -f2)" 1.95.0 || missing+=("cargo 1.95 or newer; this is $(cargo --version)")
  node_is=$(node --version | tr -d v)
  case "$node_is" in
    20.*) at_least "$node_is" 20.19.0 ;;
    *) at_least "$node_is" 22.12.0 ;;
  esac || missing+=("node 20.19, 22.12 or newer; this is $node_is")
}
if [ ${#missing[@]} -gt 0 ]; then
  printf 'missing: %s\n' "${missing[@]}"
  echo "0 passed, 1 failed"
  exit 1
fi
cargo --version; echo "node $(node --version)"; chromium --version 2>/dev/null; python3 --version
if [ ! -d ../shared/data ]; then
  skipped+=("recorded data sets are not here: the replay tests use generated data of the same shape")
fi

step "formatting" cargo fmt --all --check
step "build" cargo build --workspace --bins --locked
step "no second TLS stack" bash -c '
  for crate in openssl-sys aws-lc-sys rsa; do
    if cargo tree --workspace -e all --locked -i "$crate" 2>/dev/null | grep -q .; then echo "$crate is in the tree"; exit 1; fi
  done; echo "openssl-sys, aws-lc-sys, rsa: none"'
step "Rust tests: build" cargo test --workspace --locked --no-run

# They wait more than they work: meanwhile goes on what needs no browser.
beside "Rust tests" cargo test --workspace --locked --no-fail-fast

if (cd tests/node && npm ci --ignore-scripts --no-audit --no-fund) >"$logs/push-packages.log" 2>&1; then
  beside "push: independent check" bash -c 'cd tests/node && npm run --silent check'
  push_check=1
else
  skipped+=("push: independent check: its packages cannot be had from the npm registry ($logs/push-packages.log)")
  push_check=0
fi

# Compiling never waits, so it takes what the tests leave; its files are not theirs, and nothing of them is built anew for it.
step "lints" nice -n 19 cargo clippy --workspace --all-targets --locked -- -D warnings
if [ -d dashboard/tests ]; then
  step "page: packages" bash -c 'cd dashboard/web && npm ci --ignore-scripts --no-audit --no-fund && cd ../tests && npm ci --ignore-scripts --no-audit --no-fund'
  step "page: types" bash -c 'cd dashboard/web && npm run --silent check'
  step "page: unit tests" bash -c 'cd dashboard/tests && npm run --silent unit'
fi
[ $push_check = 0 ] || join
join
if [ -d dashboard/tests ]; then
  step "page: in Chromium" bash -c 'cd dashboard/tests && npm run --silent e2e'
  if get "${FIREFOX:-firefox-esr}" firefox-esr && get openssl openssl; then
    step "page: in Firefox, with true Web Push" bash -c 'cd dashboard/tests && npm run --silent firefox'
  else
    skipped+=("page: in Firefox, with true Web Push: ${FIREFOX:-firefox-esr} or openssl cannot be had (Debian packages firefox-esr, openssl)")
  fi
fi

if [ $long = 1 ]; then
  export PULSEWIRE_LONG=1 PROPTEST_CASES=20000
  # The longest of them works in virtual time on one core: the others have the rest.
  beside "long: live fan-out against a plain model" env PROPTEST_CASES=5000 cargo test --locked -p pulsewire --test live_model
  step "long: engine, crashes with and without unsynced writes" cargo test --locked -p pulsewire-engine --test crash -- --nocapture
  step "long: engine, a day of a fleet" cargo test --locked -p pulsewire-engine --test fleet -- --nocapture
  step "long: engine against a plain map" env PROPTEST_CASES=1000 cargo test --release --locked -p pulsewire-engine --test model
  step "long: crashes under ingest that lose unsynced writes" cargo test --locked -p pulsewire --test journal_crash -- --nocapture
  step "long: kill -9 rounds" cargo test --locked -p pulsewire-tests --test crash -- --nocapture
  step "long: kill -9 before and after every commit of alerting" cargo test --locked -p pulsewire --test alerting_killed -- --nocapture
  step "long: kill -9 between alert and provider" cargo test --locked -p pulsewire-tests --test push -- --nocapture each_message
  [ ! -d tests/node/node_modules/jose ] ||
    step "long: push: a day of provider tokens, thirty connections that end" bash -c 'cd tests/node && npm run --silent check -- apnsTokens apnsGoaway'
  cargo build --release --locked --bins -p pulsewire -p pulsewire-sim >"$logs/release.log" 2>&1
  built=$?
  join
  if [ $built = 0 ]; then
    # The server takes what begins with PULSEWIRE_ for a setting.
    step "long: page under load" env -u PULSEWIRE_LONG bash -c 'cd dashboard/tests && npm run --silent perf'
  else
    failures+=("long: release build ($logs/release.log)")
  fi
  step "long: protocol properties" cargo test --release --locked -p pulsewire-proto
  if cargo fuzz --version >/dev/null 2>&1; then
    for target in decode session; do
      step "long: fuzzing $target, 5 minutes" env RUSTC_BOOTSTRAP=1 bash -c "cd proto-spec && cargo fuzz run $target -- -max_total_time=300"
    done
  else
    skipped+=("fuzzing: cargo-fuzz is not installed (cargo install cargo-fuzz)")
  fi
else
  skipped+=("long rounds: ./test.sh --long runs them")
fi

say "summary after $((SECONDS - started)) s"
for one in "${skipped[@]}"; do echo "not run: $one"; done
for one in "${failures[@]}"; do echo "FAILED: $one"; done
[ ${#failures[@]} -eq 0 ] || [ "$failed" -gt 0 ] || failed=${#failures[@]}
echo "$passed passed, $failed failed"
[ ${#failures[@]} -eq 0 ]

# shellcheck shell=bash
# A clean Debian that boots in a container, with a modem, a card and an SM-DP+ in it. The tests beside this
# file source it.
#
# systemd-nspawn boots the container; it needs root, and Debian's packages systemd-container and debootstrap.
# The container has no network but its own loopback.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
# shellcheck disable=SC2034 # for the tests
target=${CARGO_TARGET_DIR:-$project/target}

# The port, the server and the card of the bench.
port=/dev/serial/by-id/usb-Quectel_EG25-G-if02-port0
smdp=smdp.example.com
eid=89049032123451234512345678901235

scratch=
nspawn=
# The first process in the container, as seen from outside.
init=

fail() {
    printf 'not ok: %s\n' "$*" >&2
    exit 1
}

# One line for a fact that the following command proves.
fact() {
    local text=$1 output
    shift
    if output=$("$@" 2>&1); then
        printf 'ok: %s\n' "$text"
    else
        printf '%s\n' "$output" >&2
        report
        fail "$text"
    fi
}

# The same for a fact that becomes true within a minute, or so many seconds as $patience says.
soon() {
    local text=$1
    shift
    # Its output counts only when it never succeeds.
    await "$@" || true
    fact "$text" "$@"
}

await() {
    local end=$((SECONDS + ${patience:-60}))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

# A command that must fail with this exit code.
fails() {
    local code=0
    "${@:2}" || code=$?
    [ "$code" = "$1" ]
}

# A command that prints this text somewhere.
prints() {
    local output code=0
    output=$("${@:2}" 2>&1) || code=$?
    printf '%s\n' "$output"
    [[ $output == *"$1"* ]]
}

# What the daemon said last; for failures.
report() {
    [ -z "$init" ] || inside journalctl --no-pager --quiet --unit lpad --lines 30 >&2 || true
}

clean_up() {
    trap - EXIT INT TERM HUP
    stop || true
    [ -z "$scratch" ] || rm -rf --one-file-system "$scratch"
}

# Makes $root, a copy of a clean Debian. The original is kept in the folder of the argument.
make_root() {
    local original=$1 mirror suite tool
    [ "$(id -u)" = 0 ] || fail "this test boots a container: run it as root"
    for tool in systemd-nspawn debootstrap nsenter; do
        command -v "$tool" >/dev/null || fail "there is no $tool"
    done
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    if [ ! -e "$original/etc/debian_version" ]; then
        # The release and the mirror of this machine.
        suite=$(. /etc/os-release && printf %s "$VERSION_CODENAME")
        # It is read to its end: apt-cache cut off would fail.
        mirror=$(apt-cache policy base-files | awk '!found && match($0, /https?:\/\/[^ ]+/) {
            print substr($0, RSTART, RLENGTH); found = 1 }')
        rm -rf "$original.new"
        mkdir -p "$(dirname "$original")"
        debootstrap --variant=minbase --include=systemd,systemd-sysv,udev,ca-certificates,curl,adduser \
            "$suite" "$original.new" "$mirror" >"$original.log" 2>&1 || fail "debootstrap: see $original.log"
        mv "$original.new" "$original"
    fi
    scratch=$(mktemp --directory)
    root=$scratch/root
    cp --archive --reflink=auto "$original" "$root"
}

# Puts the test bench into the container: it starts with it, as hardware and an operator's server do.
install_bench() {
    local bench=$root/var/lib/bench
    install -t "$root/usr/local/bin" "$1/sim-card-emulator" "$1/smdp"
    mkdir -p "$bench"
    "$1/sim-card-emulator" pki new "$bench/pki" --host "$smdp" --eid "$eid" >/dev/null
    printf '127.0.0.1 localhost %s\n' "$smdp" >"$root/etc/hosts"
    cat >"$bench/smdp.toml" <<END
listen = "127.0.0.1:443"
admin = "127.0.0.1:8080"
pki = "pki"
state = "orders"

[[order]]
matching_id = "MATCHING-ID"
profile_name = "By code"

[[order]]
matching_id = "FIRST-BOOT"
profile_name = "First boot"

[[order]]
eid = "$eid"
profile_name = "By EID"
END
    cat >"$root/etc/systemd/system/bench-smdp.service" <<END
[Service]
ExecStart=/usr/local/bin/smdp --config /var/lib/bench/smdp.toml
[Install]
WantedBy=multi-user.target
END
    # Group and mode are those udev gives a serial port.
    cat >"$root/etc/systemd/system/bench-modem.service" <<END
[Service]
ExecStartPre=mkdir -p $(dirname "$port")
ExecStart=/usr/local/bin/sim-card-emulator --pty $port --state /var/lib/bench/card --pki /var/lib/bench/pki
ExecStartPost=/bin/sh -c 'until chgrp dialout $port && chmod 660 $port; do sleep 0.1; done'
[Install]
WantedBy=multi-user.target
END
    systemctl --quiet --root="$root" enable bench-smdp bench-modem
}

# Boots the container. Its messages go into a file beside its root.
boot() {
    systemd-nspawn --directory="$root" --boot --register=no --keep-unit --private-network \
        --machine="lpad-test-$$" </dev/null >>"$scratch/console" 2>&1 &
    nspawn=$!
    await has_init || fail "the container does not start: $(tail "$scratch/console")"
    init=$(pgrep --parent "$nspawn")
    await running || fail "the container does not come up: $(inside systemctl --no-pager --failed)"
}

has_init() {
    local first
    first=$(pgrep --parent "$nspawn") && [ -e "/proc/$first/root/run/systemd/private" ]
}

running() {
    [ "$(inside systemctl is-system-running)" = running ]
}

# Ends the container as a switch does: services are stopped, everything is written.
stop() {
    [ -n "$nspawn" ] || return 0
    # To systemd: power off.
    [ -z "$init" ] || kill -s RTMIN+4 "$init" 2>/dev/null || true
    init=
    await ended || kill "$nspawn" 2>/dev/null || true
    wait "$nspawn" || true
    nspawn=
}

ended() {
    ! kill -0 "$nspawn" 2>/dev/null
}

# Runs a command as root in the container.
inside() {
    nsenter --target "$init" --all env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root LANG=C.UTF-8 "$@"
}

# Runs a command as another user of the container.
inside_as() {
    inside setpriv --reuid "$1" --regid "$1" --init-groups "${@:2}"
}

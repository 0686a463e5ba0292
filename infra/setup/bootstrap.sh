#!/bin/sh
# Makes a machine ready: Python's venv, git, the virtual environment, a Docker Engine that answers and what it
# takes to build images. What is there is used; what is missing is installed as root on Debian, or named.
# Usage: bootstrap.sh [--browser]      --browser also wants Chromium, for the tests of the Web UI
# Running it again changes nothing. DR_STATE says where state goes (default: .dr of the checkout).
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
DR_STATE=${DR_STATE:-$root/.dr}
export DR_STATE
notes=$DR_STATE/setup
python=$root/.venv/bin/python
began=$(date +%s)
apt_updated=
mkdir -p "$notes"

# Two commands started at once must not both install. --close: the engine must not inherit the lock.
if [ "${DR_BOOTSTRAP_LOCKED:-}" != yes ] && command -v flock >/dev/null; then
    DR_BOOTSTRAP_LOCKED=yes exec flock --close "$notes/bootstrap.lock" sh "$0" "$@"
fi

say() { printf '[%3d s] %s\n' $(($(date +%s) - began)) "$*"; }
fail() {
    printf '[%3d s] %s\n' $(($(date +%s) - began)) "$1" >&2
    printf '        %s\n' "$2" >&2
    exit 1
}
can_install() { [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null; }
why_not() {
    if [ ! -e /etc/debian_version ]; then echo "this is not Debian"; else echo "not root"; fi
}

refresh_lists() {
    [ -z "$apt_updated" ] || return 0
    apt-get update -qq >"$notes/apt.log" 2>&1 || say "apt-get update failed; trying with the lists that are there"
    apt_updated=yes
}

# install PACKAGE...: 0 when they are there afterwards. What was asked for is noted in $notes/packages: packages of
# the system stay after `make down`, others may have come to need them.
install() {
    refresh_lists
    if DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >>"$notes/apt.log" 2>&1 </dev/null; then
        printf '%s\n' "$@" | grep -v '^-' >>"$notes/packages"
        return 0
    fi
    tail -n 5 "$notes/apt.log" >&2
    return 1
}

# need WHAT PACKAGE...: install the packages, or end with a message that names WHAT.
need() {
    what=$1
    shift
    can_install || fail "$what is missing, and cannot be installed here: $(why_not)" "install it: $* (Debian's names)"
    say "installing $what"
    install "$@" || fail "$what could not be installed" "the whole output is in $notes/apt.log"
}

ensure_python() {
    interpreter=${DR_PYTHON:-python3}
    command -v "$interpreter" >/dev/null || need "Python 3.11 or later" python3 python3-venv
    # The venv module comes without its ensurepip on Debian until python3-venv is there.
    if [ ! -x "$python" ] && ! "$interpreter" -c 'import ensurepip, venv' 2>/dev/null; then
        need "Python's venv module" python3-venv
    fi
}

ensure_git() { command -v git >/dev/null || need git git; }

ensure_environment() {
    before=$(cat "$root/.venv/.dr-installed" 2>/dev/null || true)
    sh "$root/infra/setup/venv.sh"
    [ "$before" = "$(cat "$root/.venv/.dr-installed")" ] || say "virtual environment made from requirements.lock"
    say "$("$python" --version), $("$root/.venv/bin/temporal" --version 2>/dev/null || echo 'no temporal program')"
}

engine() { (cd "$root" && "$python" -m infra.setup.engine "$@" --state "$DR_STATE"); }

# Where the client is a package of its own (Debian 13 on), the engine's package does not bring it.
docker_packages() {
    if apt-cache show docker-cli >/dev/null 2>&1; then echo docker.io docker-cli iptables debootstrap
    else echo docker.io iptables debootstrap; fi
}

ensure_engine() {
    if version=$(engine answers); then
        say "Docker Engine $version answers"
        return
    fi
    [ -z "${DOCKER_HOST:-}" ] || fail "no Docker Engine answers at DOCKER_HOST=$DOCKER_HOST" \
        "start it, correct the address, or unset DOCKER_HOST to use the engine of this machine"
    if [ ! -x /usr/sbin/dockerd ] && ! command -v dockerd >/dev/null; then
        if can_install; then refresh_lists; fi
        # shellcheck disable=SC2046 # a list of words
        need "Docker Engine" $(docker_packages)
    fi
    if [ "$(id -u)" != 0 ]; then
        fail "Docker Engine is installed but does not answer to this user" \
            "start it (systemctl start docker) and let this user reach its socket (group docker)"
    fi
    if [ -d /run/systemd/system ] && systemctl start docker >>"$notes/apt.log" 2>&1 && version=$(engine answers); then
        say "Docker Engine $version started by systemd"
        return
    fi
    version=$(engine start) || fail "Docker Engine was started and does not answer" "see $notes/dockerd.log"
    say "Docker Engine $version started (make down ends it)"
}

# Only needed where images are built, that is where no image registry answers: a note, not an error.
ensure_builders() {
    missing=
    command -v docker >/dev/null || missing="$missing docker"
    [ -x /usr/sbin/debootstrap ] || command -v debootstrap >/dev/null || missing="$missing debootstrap"
    [ -n "$missing" ] || return 0
    if can_install; then
        say "installing what builds images:$missing"
        refresh_lists
        # shellcheck disable=SC2046
        install $(docker_packages) || say "not installed; images can only be pulled"
    else
        say "missing:$missing ($(why_not)); images can only be pulled"
    fi
}

find_browser() {
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" && return 0
    done
    return 1
}

ensure_browser() {
    rm -f "$notes/no-browser"
    if ! find_browser >/dev/null; then
        if can_install; then
            say "installing Chromium for the tests of the Web UI"
            install --no-install-recommends chromium || echo "apt-get could not install chromium" >"$notes/no-browser"
        else
            echo "chromium is missing and cannot be installed here: $(why_not)" >"$notes/no-browser"
        fi
    fi
    if [ -e "$notes/no-browser" ]; then
        say "browser tests will be skipped: $(cat "$notes/no-browser")"
    else
        say "browser: $(find_browser)"
    fi
}

# For the tests of clocks that stand apart; without it they say that they did not run.
ensure_faketime() {
    command -v faketime >/dev/null || ! can_install || install faketime || say "faketime could not be installed"
}

# The checker of alert rules is part of Debian's Prometheus, whose server nobody asked for: it is not to start.
ensure_promtool() {
    command -v promtool >/dev/null && return 0
    can_install || { say "no promtool: the tests of alert rules will be skipped: $(why_not)"; return 0; }
    policy=/usr/sbin/policy-rc.d
    mine=
    if [ ! -e "$policy" ]; then
        mine=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 0755 "$policy"
    fi
    install --no-install-recommends prometheus || say "promtool could not be installed"
    [ -z "$mine" ] || rm -f "$policy"
    # Nor with the next boot.
    ! command -v systemctl >/dev/null || systemctl disable prometheus >>"$notes/apt.log" 2>&1 || true
}

ensure_python
ensure_git
ensure_environment
ensure_engine
ensure_builders
case "${1:-}" in
--browser)
    ensure_browser
    ensure_faketime
    ensure_promtool
    ;;
'') ;;
*) fail "unknown option $1" "usage: bootstrap.sh [--browser]" ;;
esac

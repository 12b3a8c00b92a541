#!/bin/sh
# Install what `make test-system` runs against: Prometheus, whose package brings promtool, a browser, and what builds and
# runs the image, or boots a machine.
# As root on Debian it does so itself; elsewhere it says what to install and exits 1.
set -eu

commands="prometheus promtool chromium podman runc debootstrap systemd-nspawn"
packages="prometheus chromium podman runc containernetworking-plugins debootstrap debian-archive-keyring \
    systemd-container"

missing=""
for command in $commands; do
    command -v "$command" >/dev/null || missing="$missing $command"
done
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "The system tests need these on PATH, and they are not there:$missing." >&2
    echo "Try: as root on Debian run this again; elsewhere install them by other means." >&2
    exit 1
fi

# The tests start a Prometheus of their own: the package must not start its service as well.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # words, not one name
apt-get install -qq --yes --no-install-recommends $packages

#!/bin/sh
# Install what `make test-system` runs against: Prometheus, whose package brings promtool.
# As root on Debian it does so itself; elsewhere it says what to install and exits 1.
set -eu

if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "The system tests need prometheus and promtool on PATH." >&2
    echo "Try: as root on Debian or Ubuntu run this again; elsewhere install both from prometheus.io." >&2
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
apt-get install -qq --yes --no-install-recommends prometheus

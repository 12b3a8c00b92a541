#!/bin/sh
# Install emitter as a systemd service from this checkout, or upgrade it: the program into /opt/emitter, its units, and
# a configuration where there is none. As root. It starts nothing; what runs is restarted.
set -eu
umask 022 # the service's user has to read it all
cd "$(dirname "$0")/../.."

scripts/bootstrap.sh into /opt/emitter
case $(readlink -f /opt/emitter/bin/python) in
    /home/* | ~root/* | /run/user/* | /tmp/*) # what ProtectHome= and PrivateTmp= of the units hide
        echo "emitter: the service sees no home folder, and its Python is in one: $(readlink -f /opt/emitter/bin/python)" >&2
        echo "Try: install Python for the whole system, remove /opt/emitter, and run this again" >&2
        exit 2
        ;;
esac
cd deploy/systemd
mkdir -p /etc/emitter
[ -e /etc/emitter/emitter.yaml ] || install -m 644 emitter.yaml /etc/emitter/
install -m 644 emitter.service emitter@.service /etc/systemd/system/
systemctl daemon-reload
systemctl try-restart emitter.service 'emitter@*.service'

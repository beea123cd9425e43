#!/usr/bin/env bash
# Tries the set-up as a newcomer has it: a user without rights, an empty home, a fresh clone of what is committed here, on a
# path with a blank and an umlaut; then `make setup` and a simulation, which a .spiceinit in that home must not touch.
# Needs root, to make the user and to take it away again. Takes what `make setup` takes, about 2 minutes.
set -eu

[ "$(id -u)" = 0 ] || { echo "run it as root: it makes a user, and takes it away again" >&2; exit 2; }
here=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
user=bruno-newcomer
home=$(mktemp -d /var/tmp/bruno-newcomer.XXXXXX)
checkout="$home/my circuits für Bruno"

useradd --home-dir "$home" --shell /bin/bash "$user"
trap 'userdel "$user" 2>/dev/null; rm -rf "$home"' EXIT
git clone --quiet --no-hardlinks "$here" "$checkout"
echo "shell touch $home/ran" >"$home/.spiceinit"
if [ -f ~/.config/pip/pip.conf ]; then # a mirror of the package index
    install -D -m 644 ~/.config/pip/pip.conf "$home/.config/pip/pip.conf"
fi
chown -R "$user" "$home"

as_user() {
    runuser -u "$user" -- env -i HOME="$home" USER="$user" LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin \
        $(env | grep -E '^(PIP_|SSL_CERT_FILE|https?_proxy)[A-Za-z_]*=[^ ]*$' || true) "$@"
}

cd "$checkout"
as_user make setup
as_user .venv/bin/bruno simulate neuron --engine spice --dc 3n --t-stop 10m --out "$home/spice trace.csv"
as_user .venv/bin/bruno simulate neuron --dc 3n --t-stop 10m --out "$home/model trace.csv"
[ ! -e "$home/ran" ] || { echo "ngspice ran the .spiceinit of $home" >&2; exit 1; }
[ -z "$(git -c safe.directory='*' status --porcelain)" ] || { echo "the set-up left files that git sees" >&2; exit 1; }
echo "Set up as $user, without rights, in '$checkout'."

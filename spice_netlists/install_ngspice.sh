#!/usr/bin/env bash
# Makes sure that ngspice and its shared library are there; installs them where that needs no question.
set -eu
PATH="$PATH:/usr/sbin:/sbin"  # where ldconfig is; Debian leaves them out of a user's PATH

have_ngspice() {
    command -v ngspice >/dev/null 2>&1 || return 1
    ldconfig -p 2>/dev/null | grep -q 'libngspice\.so' && return 0
    ls /opt/homebrew/lib/libngspice.dylib /usr/local/lib/libngspice.* >/dev/null 2>&1
}

have_ngspice && exit 0

if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then as_root=(); elif sudo -n true 2>/dev/null; then as_root=(sudo -n); else as_root=(false); fi
    if [ "${as_root[*]-}" != false ]; then
        echo "Installing ngspice and libngspice0"
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq ngspice libngspice0 >/dev/null
    fi
elif command -v brew >/dev/null 2>&1; then
    echo "Installing ngspice and libngspice"
    brew install --quiet ngspice libngspice </dev/null
fi

have_ngspice && exit 0
echo "ngspice and its shared library are missing: install the packages ngspice and libngspice0" \
    "(Debian and Ubuntu: apt-get install ngspice libngspice0; macOS: brew install ngspice libngspice), then run make again." >&2
exit 2

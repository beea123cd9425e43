#!/usr/bin/env bash
# Makes sure that Chromium and its driver are there, for the tests that open pages; installs them where that needs no question.
set -eu

have_browser() {
    command -v chromedriver >/dev/null 2>&1 || return 1
    command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 ||
        command -v google-chrome >/dev/null 2>&1 || [ -d "/Applications/Google Chrome.app" ] || [ -d "/Applications/Chromium.app" ]
}

have_browser && exit 0

if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then as_root=(); elif sudo -n true 2>/dev/null; then as_root=(sudo -n); else as_root=(false); fi
    if [ "${as_root[*]-}" != false ]; then
        echo "Installing chromium and chromium-driver"
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium chromium-driver >/dev/null
    fi
elif command -v brew >/dev/null 2>&1; then
    echo "Installing google-chrome and chromedriver"
    brew install --quiet --cask google-chrome chromedriver </dev/null
fi

have_browser && exit 0
echo "Chromium and its driver are missing: install the packages chromium and chromium-driver (Debian: apt-get install" \
    "chromium chromium-driver; macOS: brew install --cask google-chrome chromedriver), then run make test again." >&2
exit 2

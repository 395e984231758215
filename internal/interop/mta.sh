#!/usr/bin/env bash
# Fetches Exim and OpenSMTPD for the interop tests and unpacks them, with the libraries that the system lacks, into a
# cache folder: Debian allows one installed mail server at a time, and that is Postfix. Nothing is installed or changed.
#
#   internal/interop/mta.sh [folder]     default: $SMTPSEC_MTA_CACHE, else .cache/mta in the project
#
# It leaves a tree alone that has the versions of the package index. It needs apt with a fresh index, and dpkg.
#
# The OpenSMTPD of Debian 12 (6.8.0p2) cannot serve TLS at all with the OpenSSL of Debian 12
# (https://github.com/OpenSMTPD/OpenSMTPD/issues/1171); there its backport is taken, by way of an index of our own.
set -Eeuo pipefail
cache=${1:-${SMTPSEC_MTA_CACHE:-$(cd "$(dirname "$0")/../.." && pwd)/.cache/mta}}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

# fetch <package> <folder>: the package and everything that apt would install with it, unpacked into one tree.
fetch() {
  local package=$1 root=$cache/$2 wanted work
  # What apt would install; that it would remove another mail server does not matter here.
  wanted=$(apt-get "${apt[@]}" -s -qq install --no-install-recommends "$package" | sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' | sort)
  case $wanted in
    *"$package="*) ;;
    *) echo "mta.sh: apt would not install $package: unknown, or installed already" >&2; return 1 ;;
  esac
  if [ "$wanted" != "$(cat "$root/.packages" 2>/dev/null || true)" ]; then
    work=$(mktemp -d "$cache/fetch.XXXXXX")
    (cd "$work" && xargs apt-get "${apt[@]}" -o APT::Sandbox::User=root download -qq <<<"$wanted")
    mkdir "$work/root"
    for deb in "$work"/*.deb; do dpkg -x "$deb" "$work/root"; done
    printf '%s\n' "$wanted" >"$work/root/.packages"
    chmod 755 "$work/root"
    rm -rf "$root"
    mv "$work/root" "$root"
    rm -rf "$work"
  fi
  echo "$2:" $wanted
}

apt=()
fetch exim4-daemon-heavy exim
if [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = bookworm ]; then
  index=$cache/bookworm-backports
  rm -rf "$index"
  mkdir -p "$index/sources" "$index/lists/partial" "$index/archives/partial"
  cp /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list "$index/sources/" 2>/dev/null || true
  echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-backports main' >"$index/sources/backports.list"
  apt=(-o "Dir::Etc::SourceParts=$index/sources" -o "Dir::State::Lists=$index/lists" -o "Dir::Cache=$index" -o APT::Sandbox::User=root)
  apt-get "${apt[@]}" update -qq
  apt+=(-t bookworm-backports)
fi
fetch opensmtpd opensmtpd
rm -rf "$cache/bookworm-backports"

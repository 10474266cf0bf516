#!/usr/bin/env bash
# Installs the Debian packages that are named and not there yet: as root, or by sudo where it asks for no password. Otherwise it says what
# is missing and how to get it. Nothing is asked of the network when nothing is missing.
set -euo pipefail

missing=()
for package in "$@"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

# What was installed without apt counts as well.
still=()
for package in "${missing[@]}"; do
  case $package in
    cmake | nginx | haproxy | wrk | redis-server | g++ | curl | npm) command -v "$package" >/dev/null || still+=("$package") ;;
    nodejs) command -v node >/dev/null || still+=("$package") ;;
    dnsmasq-base) [ -x /usr/sbin/dnsmasq ] || command -v dnsmasq >/dev/null || still+=("$package") ;;
    postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || still+=("$package") ;;
    python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null || still+=("$package") ;;
    *) still+=("$package") ;;
  esac
done
[ ${#still[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "missing: ${still[*]} (this machine has no apt-get; install them with its own package manager)" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
    echo "missing packages: ${still[*]}" >&2
    echo "get them with:    sudo apt-get install ${still[*]}" >&2
    exit 1
  fi
  as_root=(sudo -n)
fi

echo "installing ${still[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${still[@]}" >/dev/null

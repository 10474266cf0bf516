#!/usr/bin/env bash
# Gets the public suite for HTTP caches (https://cache-tests.fyi, BSD licence) into a folder, once, and prints where it is.
#
#     tests/conformance/install.sh FOLDER           the copy that npm has, of one version and one checksum
#     tests/conformance/install.sh FOLDER CHECKOUT  a checkout of github.com/http-tests/cache-tests, copied
#
# Of the package's own dependencies only the client is needed at run time; npm itself, which is among them, is not.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1 checkout=${2:-}
mkdir -p "$folder"
cd "$folder"

if [ -n "$checkout" ]; then
  # Away from the checkout, so that nothing is written there, and for its imports to be found in this folder's node_modules.
  rm -rf checkout
  mkdir checkout
  cp -r "$checkout/test-engine" "$checkout/tests" "$checkout/package.json" checkout/
  [ -d node_modules/undici ] || npm install --silent --no-audit --no-fund --no-package-lock --prefix "$PWD" undici@7.4.0 >&2
  echo "$PWD/checkout"
  exit
fi

version=0.4.5
sum=0e3bb037d9d46572d35bec1abf52d1112099355c65f12b21c0ecb8cf5a71b966d6b79fdacbab0cf5043595e6c16833ba3f520c0682ba99d7fe3ee54ffd034bf0
suite=$PWD/http-cache-tests-$version
if [ ! -e "$suite/ready" ]; then
  # What an interrupted run has left behind.
  rm -rf "$suite"
  cp "$here/package.json" "$here/package-lock.json" .
  npm ci --silent --no-audit --no-fund --ignore-scripts >&2
  npm pack --silent "http-cache-tests@$version" >/dev/null
  echo "$sum  http-cache-tests-$version.tgz" | sha512sum --check --quiet >&2
  mkdir "$suite"
  tar -xzf "http-cache-tests-$version.tgz" -C "$suite" --strip-components=1
  rm "http-cache-tests-$version.tgz"
  touch "$suite/ready"
fi
echo "$suite"

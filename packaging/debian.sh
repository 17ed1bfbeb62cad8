#!/usr/bin/env bash
# Builds the Debian packages libcllm1, libcllm-dev and cllm-tools of the commit that is checked out, in
# build/debian, from a copy of the files in git: `packaging/debian.sh`. Needs build-essential, debhelper and
# Rust, which may be rustup's, so that packages it comes from are not asked for; lintian is asked where it is
# installed. DEBFULLNAME and DEBEMAIL say who made them.
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p;/^version/q' Cargo.toml)
out=$PWD/build/debian source=$PWD/build/debian/cllm-$version
who="${DEBFULLNAME:-The CLLM authors} <${DEBEMAIL:-cllm@example.org}>"
rm -rf "$out" && mkdir -p "$source"
git archive HEAD | tar -x -C "$source"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
cd "$source"
cp -r packaging/debian debian
sed -i "s/^Maintainer: .*/Maintainer: $who/" debian/control
# A licence's text, as a paragraph of the copyright file.
paragraph() { sed 's/^$/./; s/^/ /' "$1"; }
{
    sed '/^License: Expat$/,$d' debian/copyright.in
    printf 'License: Expat\n' && sed '1,/^Copyright/d' LICENSE-MIT | sed '1{/^$/d}' | paragraph /dev/stdin
    printf '\nLicense: Apache-2.0\n On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.\n'
} > debian/copyright
rm debian/copyright.in
cat > debian/changelog <<CHANGES
cllm ($version) unstable; urgency=medium

  * See CHANGELOG.md.

 -- $who  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
CHANGES
dpkg-buildpackage --build=binary --no-sign --no-check-builddeps
cd ..
ls -l ./*.deb
if command -v lintian > /dev/null; then lintian --fail-on error,warning ./*.changes; fi

#!/usr/bin/env bash
# Builds the commit that is checked out twice, in two folders of different names, from vendored sources and
# without a network, and compares what is installed: `make test-reproducible`. Some ten minutes.
# The last line is "N passed, N failed".
cd "$(dirname "$0")/.." || exit 1
. c_tests/check.sh
commit=$(git rev-parse HEAD) # it may move on meanwhile
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct "$commit")
export SOURCE_DATE_EPOCH
unset CARGO_TARGET_DIR MAKEFLAGS MFLAGS MAKELEVEL

# Without a network, where the system lets us; cargo's own --offline everywhere.
alone=(env)
unshare -rn true 2> /dev/null && alone=(unshare -rn)
# Each tree has its own copy, so that the folders' names are told apart from what is built.
vendored() {
    cargo vendor --locked "$work/vendor" 2> "$work/vendor.log" |
        sed 's|^directory = .*|directory = "vendor"|' > "$work/config.toml" && grep -q '"vendor"' "$work/config.toml"
}
built() { # built FOLDER: the commit, built in FOLDER and installed into FOLDER/prefix
    mkdir -p "$1/.cargo" && git archive "$commit" | tar -x -C "$1" && cp -r "$work/vendor" "$1/vendor" &&
        { cat "$work/config.toml" && printf '[net]\noffline = true\n'; } > "$1/.cargo/config.toml" &&
        "${alone[@]}" make -C "$1" --no-print-directory CARGO='cargo --locked' install PREFIX="$1/prefix" \
            > "$work/make.log" 2>&1 || { tail "$work/make.log"; false; }
}
unnamed() { ! grep -qaF "$work" "$1"; }
version=$(sed -n 's/^version = "\(.*\)"$/\1/p;/^version/q' Cargo.toml)
check "cargo vendor" vendored
for folder in one another/place; do
    check "builds in $folder, offline, from vendored sources" built "$work/$folder"
done
for file in "lib/libcllm.so.$version" lib/libcllm.a; do
    check "$file is the same" cmp "$work/one/prefix/$file" "$work/another/place/prefix/$file"
    check "$file names no folder of its building" unnamed "$work/one/prefix/$file"
done
sha256sum "$work"/*/prefix/lib/libcllm.so."$version" "$work"/*/*/prefix/lib/libcllm.so."$version" >&2
finish

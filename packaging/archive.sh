#!/bin/sh
# archive.sh RUSTC.a LIBRARY.so OUT.a: the static library as programs get it, one object made of what
# rustc left. The names that LIBRARY.so exports are all that others see, so that two libraries written
# in Rust go into one program; those without the prefix cllm_ are weak, so that a program may have a
# dot_product or save_checkpoint of its own. What no function needs is dropped, and so are debug data
# and the compiler's intermediate code.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
object=$folder/cllm.o
"${NM:-nm}" -D --defined-only "$2" | awk '{ print $3 }' > "$folder/names"
grep -v '^cllm_' "$folder/names" > "$folder/weak"
sed 's/^/--undefined=/' "$folder/names" > "$folder/roots"
# Groups would make the linker take one of two for the other's. Not every linker drops sections here:
# the program's own may do so then.
"${LD:-ld}" -r --force-group-allocation --gc-sections "@$folder/roots" -o "$object" \
    --whole-archive "$1" 2> "$folder/log" ||
    "${LD:-ld}" -r --force-group-allocation -o "$object" --whole-archive "$1"
# One after the other: each looks at what the one before left.
"${OBJCOPY:-objcopy}" --strip-unneeded --remove-section=.llvmbc --remove-section=.llvmcmd "$object"
"${OBJCOPY:-objcopy}" --keep-global-symbols="$folder/names" "$object"
"${OBJCOPY:-objcopy}" --weaken-symbols="$folder/weak" "$object"
rm -f "$3"
"${AR:-ar}" rcsD "$3" "$object"

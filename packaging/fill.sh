#!/bin/sh
# fill.sh TEMPLATE: the file with its @NAMES@ filled in, to standard output. In the environment:
# PREFIX, LIBDIR, INCLUDEDIR, CMAKEDIR, VERSION, NATIVE_LIBS.
set -eu
for path in "$PREFIX" "$LIBDIR" "$INCLUDEDIR" "$CMAKEDIR"; do
    case $path in
    # They would need another quoting in each of shell, make, pkg-config and CMake.
    *[\"\'\`\\\$\#\;]* | *"
"*)
        echo "a folder to install to may not have any of \" ' \` \\ \$ # ; in its name: $path" >&2
        exit 1
        ;;
    esac
done
# Paths below the prefix are written as ${prefix}/..., so that pkg-config can move the whole tree.
below() {
    case $1 in
    "$PREFIX"/*) printf '${prefix}/%s' "${1#"$PREFIX"/}" ;;
    *) printf '%s' "$1" ;;
    esac
}
# As the right side of sed's s|||.
quoted() { printf '%s' "$1" | sed 's/[\\&|]/\\&/g'; }
relative() { realpath -m --relative-to="$CMAKEDIR" "$1"; }
sed -e "s|@PREFIX@|$(quoted "$PREFIX")|g" \
    -e "s|@LIBDIR@|$(quoted "$(below "$LIBDIR")")|g" \
    -e "s|@INCLUDEDIR@|$(quoted "$(below "$INCLUDEDIR")")|g" \
    -e "s|@VERSION@|$(quoted "$VERSION")|g" \
    -e "s|@NATIVE_LIBS@|$(quoted "$NATIVE_LIBS")|g" \
    -e "s|@RELATIVE_LIBDIR@|$(quoted "$(relative "$LIBDIR")")|g" \
    -e "s|@RELATIVE_INCLUDEDIR@|$(quoted "$(relative "$INCLUDEDIR")")|g" "$1"

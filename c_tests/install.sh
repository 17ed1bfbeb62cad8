#!/usr/bin/env bash
# Installs into a scratch folder and uses what is there as a stranger would: pkg-config, CMake,
# C++, the tools, the manual pages. The last line is "N passed, N failed"; reasons on stderr.
cd "$(dirname "$0")/.." || exit 1
. c_tests/check.sh
tree=$PWD
CC=${CC:-cc}
CXX=${CXX:-c++}
unset LD_LIBRARY_PATH PKG_CONFIG_PATH MAKEFLAGS MFLAGS MAKELEVEL
version=$(sed -n 's/^version = "\(.*\)"$/\1/p;/^version/q' Cargo.toml)

files() { (cd "$1" && find . ! -type d | sort); }
same() { [ "$1" = "$2" ] || { printf 'wanted: %s\nfound:  %s\n' "$1" "$2"; false; }; }

prefix=$work/prefix
make_install() { make --no-print-directory "$@" > "$work/make.log" 2>&1 || { tail "$work/make.log"; false; }; }

# ---- What is installed ----
check "make install" make_install install PREFIX="$prefix"
lib=$prefix/lib
check "library" test -f "$lib/libcllm.so.$version"
check "soname link" same "libcllm.so.$version" "$(readlink "$lib/libcllm.so.1")"
check "link for linking" same libcllm.so.1 "$(readlink "$lib/libcllm.so")"
for name in crystalline algorithms primemath; do
    check "no lib$name" bash -c "! ls '$lib/lib$name'.*"
done
check "static library" cmp libcllm.a "$lib/libcllm.a"
check "the library without debug data is below 3 MB" test "$(stat -c %s "$lib/libcllm.so.$version")" -lt 3000000
check "the static library is below 7 MB" test "$(stat -c %s "$lib/libcllm.a")" -lt 7000000
check "it names its debug data" bash -c "readelf -p .gnu_debuglink '$lib/libcllm.so' | grep -qF cllm.debug"
check "headers" same "$(files include)" "$(files "$prefix/include" | grep -v '^\./cllm/')"
check "headers below cllm/" same "$(files include)" "$(files "$prefix/include/cllm")"
for file in man/*.1; do
    check "page $file" test -f "$prefix/share/man/man1/$(basename "$file")"
done
for tool in train_model cllm_inference cllm_inference_fixed cllm_tokenize cllm_vocab_build cllm_info; do
    check "$tool runs" "$prefix/bin/$tool" --help
done
for file in LICENSE* THIRD-PARTY.txt; do
    check "$file" cmp "$file" "$prefix/share/doc/cllm/$file"
done
doc=$prefix/share/doc/cllm
pages=$(git ls-files 'docs/*.md' examples python/README.md 2> /dev/null)
if [ -n "$pages" ]; then
    check "guide and examples" same "$(grep -vx docs/RELEASING.md <<< "$pages" | sed 's|^|./|' | sort)" \
        "$(files "$doc" | grep /.*/)"
else
    skip "the list of guide and examples" "this is no clone"
fi
links_hold() { # of the installed pages, to files
    local page link status=0
    for page in "$doc"/*/*.md; do
        for link in $(grep -oP '\]\(\K(?![a-z]+:|#)[^)#]+' "$page"); do
            [ -e "$(dirname "$page")/$link" ] || { echo "$page: $link" && status=1; }
        done
    done
    return $status
}
check "installed pages lead to installed pages" links_hold
if command -v python3 > /dev/null; then
    check "what the last release declared is still there" python3 c_tests/interface.py kept
fi
check "tools use the installed library" bash -c \
    "ldd '$prefix/bin/cllm_tokenize' | grep -qF \"$prefix/\""
check "nothing of the source tree in the files for other programs" bash -c \
    "! grep -rlF '$tree' '$prefix/lib/pkgconfig' '$prefix/lib/cmake' '$prefix/include'"

# ---- A model to work with ----
printf 'the cat sat on the mat and the dog sat on the cat %.0s' 1 2 3 4 5 6 7 8 > "$work/text"
check "train_model" "$prefix/bin/train_model" "$work/text" --tokens words --quiet --batch-size 2 --seq-len 8 \
    --embed-dim 16 --num-layers 1 --num-heads 2 --epochs 4 --learning-rate 0.01 --threads 1 \
    --checkpoint-dir "$work/checkpoints"
model=$work/checkpoints/final_model.cllm
cd "$work" || exit 1 # nothing of the source tree is used from here on, but the examples
cp -r "$tree/examples" "$work/examples"

continues() { # continues COMMAND...: its output begins with the prompt and goes on
    local text
    text=$("$@") || return
    echo "$text"
    [[ $text == *"the cat "?* ]]
}

# moved ROOT: its whole content in another place, whose name is printed.
moved() {
    rm -rf "$work/moved" && cp -a "$1" "$work/moved" && echo "$work/moved"
}

# moved_pkg_config ROOT PACKAGE: the flags of PACKAGE lead to where ROOT was moved, and work there.
moved_pkg_config() {
    local root flags
    root=$(moved "$1") || return
    flags=$(PKG_CONFIG_PATH=$(dirname "$(find "$root" -name cllm.pc)") \
        pkg-config --define-variable=prefix="$root" --cflags --libs "$2") || return
    [[ $flags == *"$root"* && $flags != *"$1"* ]] || { echo "flags: $flags" && return 1; }
    # shellcheck disable=SC2086
    "$CC" -std=c11 -Wall -Werror examples/c/generate.c $flags -o moved_program &&
        continues env LD_LIBRARY_PATH="$(dirname "$(find "$root" -name libcllm.a)")" \
            ./moved_program "$model" "the cat"
}

# ---- pkg-config ----
if command -v pkg-config > /dev/null; then
    export PKG_CONFIG_PATH=$lib/pkgconfig
    check "version of cllm.pc" same "$version" "$(pkg-config --modversion cllm)"
    # shellcheck disable=SC2046
    check "pkg-config, shared: compile" "$CC" -std=c11 -Wall -Werror examples/c/generate.c \
        $(pkg-config --cflags --libs cllm) -o shared
    check "pkg-config, shared: run" continues env LD_LIBRARY_PATH="$lib" ./shared "$model" "the cat"
    check "pkg-config, shared: is shared" bash -c 'readelf -d shared | grep -qF "[libcllm.so.1]"'
    # shellcheck disable=SC2046
    check "pkg-config, static: compile" "$CC" -std=c11 -Wall -Werror examples/c/generate.c \
        $(pkg-config --cflags --libs cllm-static) -o static
    check "pkg-config, static: run" continues ./static "$model" "the cat"
    check "pkg-config, static: is static" bash -c '! readelf -d static | grep -qF libcllm'
    # shellcheck disable=SC2046
    check "pkg-config, -static: compile" "$CC" -static -std=c11 -Wall -Werror examples/c/generate.c \
        $(pkg-config --cflags --libs cllm-static) -o all_static
    check "pkg-config, -static: run" continues ./all_static "$model" "the cat"
    check "pkg-config, -static: nothing is shared" bash -c '! readelf -d all_static | grep -qF NEEDED'
    # --static of cllm.pc where only the static library is installed
    mkdir only_static && cp "$lib/libcllm.a" only_static
    # shellcheck disable=SC2046
    check "pkg-config --static: compile" "$CC" -std=c11 examples/c/generate.c -Lonly_static \
        $(pkg-config --static --cflags --libs cllm | sed "s|-L$lib ||") -o static2
    check "pkg-config --static: run" continues ./static2 "$model" "the cat"
    # The whole tree moved elsewhere
    check "moved: pkg-config, shared" moved_pkg_config "$prefix" cllm
    check "moved: pkg-config, static" moved_pkg_config "$prefix" cllm-static
    # What rustc says that a static library of this crate needs
    native=$(cd "$tree" && cargo rustc --quiet --lib --crate-type staticlib -- \
        --print native-static-libs -C opt-level=0 2>&1 | sed -n 's/^note: native-static-libs: //p')
    check "rustc names native libraries" test -n "$native"
    # The C compiler adds the library for unwinding that suits: -lgcc_s, or -lgcc_eh for -static.
    native=$(echo " $native " | sed 's/ -lgcc_s / /; s/^ //; s/ $//')
    check "Libs.private is what rustc says" same "$native" \
        "$(sed -n 's/^Libs.private: //p' "$lib/pkgconfig/cllm.pc")"
else
    skip "pkg-config" "it is not installed"
fi

# ---- C++ ----
check "C++: compile" "$CXX" -std=c++17 -Wall -Wextra -Wpedantic -Werror "-I$prefix/include" \
    examples/cpp/generate.cpp "-L$lib" -lcllm "-Wl,-rpath,$lib" -o cpp
check "C++: run" continues ./cpp "$model" "the cat"
cpp_error() { ! ./cpp "$work/missing.cllm" "the cat" > cpp.out 2> cpp.err && grep -q missing.cllm cpp.err; }
check "C++: an error is an exception" cpp_error

# ---- CMake ----
if command -v cmake > /dev/null; then
    mkdir -p cmake_project
    cp examples/c/generate.c examples/cpp/generate.cpp cmake_project
    cat > cmake_project/CMakeLists.txt <<'CMAKE'
cmake_minimum_required(VERSION 3.10)
project(example C CXX)
find_package(cllm 1.0 CONFIG REQUIRED)
add_executable(shared generate.c)
target_link_libraries(shared PRIVATE cllm::cllm)
add_executable(static generate.c)
target_link_libraries(static PRIVATE cllm::cllm-static)
add_executable(cpp generate.cpp)
set_target_properties(cpp PROPERTIES CXX_STANDARD 17)
target_link_libraries(cpp PRIVATE cllm::cllm)
CMAKE
    # cmake_works WHERE...: configures, builds and runs; WHERE says where the package is.
    cmake_works() {
        rm -rf cmake_build && cmake -S cmake_project -B cmake_build "$@" &&
            cmake --build cmake_build || return
        for program in shared static cpp; do
            continues "cmake_build/$program" "$model" "the cat" || return
        done
    }
    check "CMake" cmake_works -DCMAKE_PREFIX_PATH="$prefix"
    check "CMake: shared is shared" bash -c 'readelf -d cmake_build/shared | grep -qF "[libcllm.so.1]"'
    check "CMake: static is static" bash -c '! readelf -d cmake_build/static | grep -qF libcllm'
    check "moved: CMake" cmake_works -DCMAKE_PREFIX_PATH="$(moved "$prefix")"
    check "moved: CMake uses the moved library" bash -c \
        "ldd cmake_build/shared | grep -qF '$work/moved/lib/libcllm.so.1'"
    # The tree itself, as a part of another project. make has nothing left to do there.
    in_the_tree() {
        sed "s|^find_package.*|add_subdirectory($tree cllm)|" cmake_project/CMakeLists.txt > CMakeLists.txt &&
            mkdir -p cmake_subproject && mv CMakeLists.txt cmake_subproject &&
            cp cmake_project/generate.* cmake_subproject && rm -rf cmake_build &&
            cmake -S cmake_subproject -B cmake_build && cmake --build cmake_build || return
        for program in shared static cpp; do
            continues "cmake_build/$program" "$model" "the cat" || return
        done
        readelf -d cmake_build/shared | grep -qF "[libcllm.so.1]" && ! readelf -d cmake_build/static | grep -qF libcllm
    }
    if command -v cargo > /dev/null; then
        check "CMake: add_subdirectory" in_the_tree
    fi
    # only NAME OTHER: a package without the library of the target OTHER has the target NAME.
    only() {
        local root
        root=$(moved "$prefix") || return
        case $2 in
        static) rm "$root/lib/libcllm.a" ;;
        shared) rm "$root"/lib/libcllm.so* ;;
        esac
        rm -rf cmake_only && mkdir cmake_only && cp examples/c/generate.c cmake_only
        printf '%s\n' 'cmake_minimum_required(VERSION 3.10)' 'project(example C)' \
            "find_package(cllm 1.0 CONFIG REQUIRED COMPONENTS $1)" 'add_executable(program generate.c)' \
            "target_link_libraries(program PRIVATE cllm::cllm${3:-})" > cmake_only/CMakeLists.txt
        rm -rf cmake_build3
        cmake -S cmake_only -B cmake_build3 -DCMAKE_PREFIX_PATH="$root" && cmake --build cmake_build3 &&
            continues cmake_build3/program "$model" "the cat" || return
        # What is not there is missed by name.
        sed -i "s/COMPONENTS $1/COMPONENTS $2/" cmake_only/CMakeLists.txt
        ! cmake -S cmake_only -B cmake_build3 -DCMAKE_PREFIX_PATH="$root" > only.log 2>&1 &&
            grep -q "its component $2 is not installed" only.log || { cat only.log && return 1; }
    }
    check "CMake: the shared library alone" only shared static
    check "CMake: the static library alone" only static shared -static
    # refused VERSION: it is asked for in vain, because of the version.
    refused() {
        sed "s/cllm 1.0/cllm $1/" cmake_project/CMakeLists.txt > cmake_refused/CMakeLists.txt
        ! cmake -S cmake_refused -B cmake_build2 -DCMAKE_PREFIX_PATH="$prefix" > refused.log 2>&1 &&
            grep -q "version: $version" refused.log || { cat refused.log && return 1; }
    }
    mkdir cmake_refused && cp cmake_project/generate.* cmake_refused
    check "CMake: a later major version is refused" refused 2.0
    check "CMake: an earlier major version is refused" refused 0.9
    check "CMake: a later minor version is refused" refused "${version%%.*}.99"
else
    skip "the CMake package" "cmake is not installed"
fi

# ---- Manual pages ----
if command -v man > /dev/null; then
    for page in "$prefix"/share/man/man1/*.1; do
        check "man $(basename "$page")" bash -c "man --warnings -E ascii -M '$prefix/share/man' \
            $(basename "$page" .1) 2>&1 > man.txt | tee man.err; test ! -s man.err && grep -q NAME man.txt"
    done
else
    skip "formatting of the manual pages" "man is not installed"
fi

# ---- Completion in bash ----
completes() { # completes TOOL WORD WANTED
    local tool=$prefix/bin/$1
    same "$3" "$(bash -c 'source "$1" && COMP_WORDS=("$2" "$3") COMP_CWORD=1 && _cllm_options &&
        echo "${COMPREPLY[*]}"' - "$prefix/share/bash-completion/completions/$1" "$tool" "$2")"
}
check "completion of train_model" completes train_model --ep --epochs
check "completion of cllm_info" completes cllm_info --j --json
check "completion of cllm_vocab_build" completes cllm_vocab_build --m "--max-freq --max-size --min-freq"

# links_as NAME FOLDER [FLAG]: an old link line, with what install-compat put there.
links_as() {
    "$CC" -std=c11 -Iinclude c_tests/link_check.c -o "$work/linked" -L"$2" ${3:+"$3"} "-l$1" \
        -Wl,-Bdynamic -lm -lpthread -ldl && LD_LIBRARY_PATH=$2 "$work/linked"
}

# ---- uninstall; DESTDIR and other folders ----
cd "$tree" || exit 1
unset PKG_CONFIG_PATH
touch "$prefix/lib/libother.so"
cp "$prefix/lib/libcllm.so" "$prefix.so"
check "make install-debug" make_install install-debug PREFIX="$prefix"
check "debug data, where gdb looks" bash -c "readelf -SW '$prefix/lib/.debug/cllm.debug' | grep -qF .debug_line"
check "make uninstall" make_install uninstall PREFIX="$prefix"
check "uninstall leaves nothing but others' files" same ./lib/libother.so "$(files "$prefix")"
stage=$work/stage
other=(DESTDIR="$stage" PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu INCLUDEDIR=/usr/include/x86)
check "make install-compat with DESTDIR" make_install install-compat "${other[@]}"
check "DESTDIR: library" test -f "$stage/usr/lib/x86_64-linux-gnu/libcllm.so.$version"
for name in crystalline algorithms primemath; do
    check "DESTDIR: linker scripts" test -f "$stage/usr/lib/x86_64-linux-gnu/lib$name.so"
    check "DESTDIR: linker scripts" test -f "$stage/usr/lib/x86_64-linux-gnu/lib$name.a"
    check "DESTDIR: -l$name" links_as "$name" "$stage/usr/lib/x86_64-linux-gnu"
    check "DESTDIR: -l$name, static" links_as "$name" "$stage/usr/lib/x86_64-linux-gnu" -Wl,-Bstatic
done
check "DESTDIR: header" test -f "$stage/usr/include/x86/cllm.h"
check "DESTDIR: header below ai/" test -f "$stage/usr/include/x86/ai/cllm_optimizer.h"
check "DESTDIR: tools find the library" "$stage/usr/bin/cllm_tokenize" --help
check "DESTDIR is not in the files" bash -c \
    "! grep -rlF '$stage' '$stage/usr/lib/x86_64-linux-gnu/pkgconfig' '$stage/usr/lib/x86_64-linux-gnu/cmake'"
check "DESTDIR: cllm.pc" grep -qxF 'includedir=${prefix}/include/x86' \
    "$stage/usr/lib/x86_64-linux-gnu/pkgconfig/cllm.pc"
cd "$work" || exit 1
if command -v pkg-config > /dev/null; then
    check "DESTDIR: pkg-config, moved" moved_pkg_config "$stage/usr" cllm
fi
if command -v cmake > /dev/null; then
    check "DESTDIR: CMake" cmake_works -Dcllm_DIR="$stage/usr/lib/x86_64-linux-gnu/cmake/cllm"
fi
cd "$tree" || exit 1
# As with sudo, which may not find cargo: what make built is installed.
check "make install without cargo" make_install install PREFIX="$work/no_cargo" CARGO=no-such-cargo
check "make install without cargo: library" cmp "$prefix.so" "$work/no_cargo/lib/libcllm.so"
: > "$work/new.c"
for header in $(cd include && ls ./*.h ai/*.h); do echo "#include <cllm/$header>"; done >> "$work/new.c"
check "make install FLAT=no" make_install install PREFIX="$work/tidy" FLAT=no
check "FLAT=no: no header but below cllm/" same cllm "$(ls "$work/tidy/include")"
check "FLAT=no: <cllm/...>" "$CC" -std=c11 -Wall -Wextra -Werror -fsyntax-only "-I$work/tidy/include" "$work/new.c"
if command -v pkg-config > /dev/null; then
    # shellcheck disable=SC2046
    check "FLAT=no: old names by pkg-config" "$CC" -std=c11 -fsyntax-only examples/c/generate.c \
        $(PKG_CONFIG_PATH=$work/tidy/lib/pkgconfig pkg-config --cflags cllm)
fi
check "make uninstall after FLAT=no" make_install uninstall PREFIX="$work/tidy"
check "FLAT=no: nothing is left" same "" "$(files "$work/tidy")"
check "make uninstall with DESTDIR" make_install uninstall "${other[@]}"
check "DESTDIR is empty again" same "" "$(files "$stage")"

# ---- Folders with unusual names ----
strange="$work/my dir/R&D"
check "a prefix with spaces and &" make_install install "PREFIX=$strange"
cd "$work" || exit 1
if command -v pkg-config > /dev/null; then
    # strange_pkg_config PACKAGE ROOT [OPTION...]: as a shell takes the flags, with their quotes.
    strange_pkg_config() {
        local flags
        flags=$(PKG_CONFIG_PATH="$2/lib/pkgconfig" pkg-config "${@:3}" --cflags --libs "$1") || return
        eval "\"\$CC\" -std=c11 examples/c/generate.c $flags -o strange_program" &&
            continues env LD_LIBRARY_PATH="$2/lib" ./strange_program "$model" "the cat"
    }
    check "strange prefix: pkg-config, shared" strange_pkg_config cllm "$strange"
    check "strange prefix: pkg-config, static" strange_pkg_config cllm-static "$strange"
    mkdir -p "$work/else where" && cp -a "$strange" "$work/else where/a & b"
    check "strange prefix, moved" strange_pkg_config cllm "$work/else where/a & b" \
        --define-variable=prefix="$work/else where/a & b"
fi
if command -v cmake > /dev/null; then
    check "strange prefix: CMake" cmake_works -DCMAKE_PREFIX_PATH="$strange"
fi
check "strange prefix: tools" "$strange/bin/cllm_tokenize" --help
cd "$tree" || exit 1
for name in 'quote"d' 'dol$$lar' 'back\slash'; do
    check "a prefix like $name is refused" bash -c '! make -s install PREFIX="$1" > "$2" 2>&1 &&
        grep -q "may not have any of" "$2" && ! test -e "$1"' - "$work/$name" "$work/refused.log"
done
check "strange prefix: uninstall" make_install uninstall "PREFIX=$strange"
check "strange prefix: nothing is left" same "" "$(files "$strange")"

# ---- cargo-c, which packagers of distributions use ----
# What it needs, whether it is installed or not.
cargo metadata --no-deps --offline --format-version 1 > "$work/metadata.json"
manifest() {
    python3 - "$work/metadata.json" <<'PYTHON'
import json, os, sys
packages = json.load(open(sys.argv[1]))["packages"]
package = next(p for p in packages if p["name"] == "cllm")
library = next(t for t in package["targets"] if "cdylib" in t["kind"])
capi = package["metadata"]["capi"]
assert "staticlib" in library["kind"], library
assert package["features"].get("capi") == [], "cargo-c builds with --features capi"
assert capi["header"]["generation"] is False, capi
assert capi["install"]["include"]["asset"][0]["from"] == "include/*.h*", capi
assert os.path.exists("include/cllm.h")
PYTHON
}
if command -v python3 > /dev/null; then
    check "the manifest has what cargo-c needs" manifest
fi
if cargo cinstall --version > /dev/null 2>&1; then
    check "cargo cinstall" cargo cinstall --release --prefix="$work/c" --libdir="$work/c/lib"
    check "cargo cinstall: headers" same "$(cd include && ls)" "$(ls "$work/c/include")"
    check "cargo cinstall: library" same "libcllm.so.$version" "$(readlink "$work/c/lib/libcllm.so.1")"
    check "cargo cinstall: soname" bash -c "readelf -d '$work/c/lib/libcllm.so' | grep -qF '[libcllm.so.1]'"
    check "cargo cinstall: exports the API and nothing else" diff <(python3 c_tests/interface.py names) \
        <(nm -D --defined-only "$work/c/lib/libcllm.so" | awk '{ print $3 }' | sort)
    cd "$work" || exit 1
    check "cargo cinstall: pkg-config" moved_pkg_config "$work/c" cllm
    cd "$tree" || exit 1
else
    skip "cargo cinstall" "cargo-c is not installed"
fi

finish

#!/usr/bin/env bash
# Runs the tests that are written in C or about C, and the Rust ones, against the built tree
# (`make` first). Usage: c_tests/run.sh [plain|valgrind|asan|reliability|fuzz|tsan|loom] [part...]
# Parts of plain: rust harness hostile abi headers symbols link old readme tools runs subwords stream large ranks terminal info examples
# docs install host survival. valgrind and asan run harness, hostile, abi and tools, asan also runs, terminal, info,
# examples and survival; reliability runs survival in its long version, resume, faults, replay and
# fuzz. The last line is the total; exit status 1 if anything failed.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C

mode=${1:-plain}
[ $# -gt 0 ] && shift
out=build/c_tests/$mode
mkdir -p "$out"
CC=${CC:-cc}
CXX=${CXX:-c++}
strict=(-Wall -Wextra -Werror)
sanitize=()
# RUN_THROUGH: what programs in C are run by, an emulator.
read -ra wrapper <<< "${RUN_THROUGH-}"
case $mode in
plain)
    parts=(rust harness hostile abi headers symbols link old readme tools runs subwords stream large ranks terminal info examples docs install host survival)
    # An emulator takes minutes for models of 0.6 GB.
    [ ${#wrapper[@]} -eq 0 ] && export CLLM_TEST_LARGE=1
    ;;
reliability) parts=(ranks survival resume faults replay fuzz) ;;
fuzz) parts=(fuzz) ;;
tsan) parts=(tsan) ;;
loom) parts=(loom) ;;
valgrind)
    parts=(harness hostile abi tools)
    # Its CPU knows no AVX-512.
    export CLLM_SIMD=avx2
    wrapper=(valgrind --quiet --leak-check=full --error-exitcode=9)
    ;;
asan)
    parts=(harness hostile abi tools runs subwords terminal info examples survival)
    sanitize=(-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all)
    ;;
*)
    echo "usage: $0 [plain|valgrind|asan|reliability|fuzz|tsan|loom] [part...]" >&2
    exit 2
    ;;
esac
[ $# -gt 0 ] && parts=("$@")

passed=0
failed=0
skipped=0

# with_skipped NUMBER: ", N skipped" unless it is 0.
with_skipped() { [ "$1" -eq 0 ] || echo ", $1 skipped"; }

# count NAME PASSED FAILED [SKIPPED]: adds to the total and shows the line.
count() {
    passed=$((passed + $2))
    failed=$((failed + $3))
    skipped=$((skipped + ${4:-0}))
    printf '%-34s %6d passed, %d failed%s\n' "$1" "$2" "$3" "$(with_skipped "${4:-0}")"
}

# counts FILE: sets good, bad and left from its last line, "N passed, N failed" and perhaps
# ", N skipped"; zeros if it has no such line.
counts() {
    good=0 bad=0 left=0
    if [[ $(tail -n 1 "$1") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
        good=${BASH_REMATCH[1]}
        bad=${BASH_REMATCH[2]}
        left=${BASH_REMATCH[4]:-0}
    fi
}

# run_program NAME PROGRAM [ARGUMENT...]: shows what it prints to stderr. A crash or a report of valgrind or a sanitizer is one failure more.
run_program() {
    local name=$1 status good bad left
    timeout "${limit:-600}" "${wrapper[@]}" "${@:2}" > "$out/log" 2> "$out/errors"
    status=$?
    counts "$out/log"
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        echo "$name: exit status $status" >&2
        bad=1
    elif [ "$good" -eq 0 ] && [ "$bad" -eq 0 ]; then
        echo "$name: no checks ran" >&2
        bad=1
    fi
    if [ "$bad" -ne 0 ]; then # the failed checks, or else whatever came last
        grep -E '^c_tests/[a-z_0-9]+\.[ch]:[0-9]+: ' "$out/errors" >&2 || tail -n 40 "$out/errors" >&2
    fi
    count "$name" "$good" "$bad"
}

# build_c OUTPUT SOURCE [FLAGS...]: against include/ and the library in this folder.
build_c() {
    local output=$1 source=$2
    shift 2
    "$CC" -std=c11 "${strict[@]}" "${sanitize[@]}" -Iinclude -Ic_tests "$source" -o "$output" \
        -L. "$@" -lm -lpthread "-Wl,-rpath,$PWD" 2> "$out/errors" && return
    echo "$source does not build:" >&2
    head -n 40 "$out/errors" >&2
    return 1
}

# The Rust tests, once for each set of instructions that the kernels are compiled for; those of the
# kernels where fused multiply-add is not an instruction, which is slow.
part_rust() {
    local level status good bad packages
    for level in avx512 avx2 portable; do
        packages=()
        [ "$level" = portable ] && packages=(-p cllm-kernels)
        # The library's messages about failures that are meant to happen stay in the log.
        CLLM_SIMD=$level cargo test --quiet --no-fail-fast "${packages[@]}" 2>&1 | tee "$out/cargo.log" |
            grep -vE '^(running [0-9]+ tests?|\.*|\.*cllm: .*)$'
        status=${PIPESTATUS[0]}
        good=$(awk '/^test result:/ { n += $4 } END { print n + 0 }' "$out/cargo.log")
        bad=$(awk '/^test result:/ { n += $6 } END { print n + 0 }' "$out/cargo.log")
        [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
        count "cargo test ($level)" "$good" "$bad"
    done
}

part_harness() {
    local source name
    for source in c_tests/test_*.c; do
        [ -e "$source" ] || continue
        name=$(basename "$source" .c)
        if build_c "$out/$name" "$source" -lcllm; then
            run_program "$name" "$out/$name"
        else
            count "$name" 0 1
        fi
    done
}

# Every exported function with hostile arguments; see hostile.py.
part_hostile() {
    local flags=(-O0) sanitizers=("${sanitize[@]}")
    [ "$mode" = asan ] && sanitizers=(-g1 -fsanitize=address,undefined -fno-sanitize-recover=all)
    if ! python3 c_tests/hostile.py "$out/hostile.c" > "$out/log" 2>&1 ||
        ! "$CC" -std=gnu11 "${strict[@]}" "${flags[@]}" "${sanitizers[@]}" -Iinclude -Ic_tests \
            "$out/hostile.c" -o "$out/hostile" -L. -lcllm -lm -lpthread "-Wl,-rpath,$PWD" \
            > "$out/log" 2>&1; then
        head -n 40 "$out/log" >&2
        count hostile 0 1
        return
    fi
    # Fields that lie about the program's own memory make it leak, so leaks are looked for after
    # each function's other calls (no_leaks in hostile.h), not at the end.
    case $mode in
    asan)
        export ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=1536
        ASAN_OPTIONS+=:leak_check_at_exit=0
        export HOSTILE_MEGABYTES=0 HOSTILE_SECONDS=120
        ;;
    valgrind)
        export HOSTILE_MEGABYTES=4096 HOSTILE_SECONDS=300
        # Minutes each: models of 0.6 GB, and everything once more.
        HOSTILE_SKIP=cllm_create_medium_model,cllm_create_large_model,cllm_run_benchmark_suite
        HOSTILE_SKIP+=,cllm_generate_performance_report
        export HOSTILE_SKIP
        ;;
    esac
    local wrapper=("${wrapper[@]/--leak-check=full/--leak-check=no}") limit=1500
    [ "$mode" = valgrind ] && limit=3600
    run_program hostile "$out/hostile"
    sed -n '/hostile calls/p' "$out/log"
    unset ASAN_OPTIONS HOSTILE_MEGABYTES HOSTILE_SECONDS HOSTILE_SKIP
}

# The recorded interface: layouts and prototypes when compiled, functions when linked. Tier 3 is
# checked as programs of either commit of the original see it, the newest with the longer model, too.
part_abi() {
    local header good=0 bad=0
    abi_check abi_check abi_check.c
    abi_check abi_check_tier2 abi_check_tier2.c
    abi_check abi_check_tier3 abi_check_tier3.c
    abi_check "abi_check_tier3, newest" abi_check_tier3.c -DWITH_NEWEST
    abi_check "abi_check_tier3, longer model" abi_check_tier3.c -DWITH_NEWEST -DWITH_MODEL_TAIL
    # Headers of the original that bring prime_types.h with them.
    for header in cllm_inference.h cllm_format.h cllm_training.h; do
        if "$CC" -std=c11 "${strict[@]}" -Iinclude "-DHEADER_ALONE=\"$header\"" -fsyntax-only \
            c_tests/abi_check_tier3.c; then
            good=$((good + 1))
        else
            bad=$((bad + 1))
        fi
    done
    count "headers with prime_types.h" "$good" "$bad"
}

# abi_check NAME SOURCE [FLAGS...]
abi_check() {
    local name=$1 source=c_tests/$2 line status
    shift 2
    if ! build_c "$out/abi_check" "$source" "$@" -lcllm -lcrystalline -lalgorithms; then
        count "$name" 0 1
        return
    fi
    timeout 600 "${wrapper[@]}" "$out/abi_check" > "$out/log" 2>&1
    status=$?
    line=$(tail -n 1 "$out/log")
    if [[ $line =~ ^tier\ [123]:\ ([0-9]+)\ checks:.*\;\ ([0-9]+)\ failed$ ]] &&
        [ "$status" -eq "$((BASH_REMATCH[2] != 0))" ]; then
        [ "$status" -ne 0 ] && cat "$out/log" >&2
        count "$name" $((BASH_REMATCH[1])) $((BASH_REMATCH[2]))
    else
        cat "$out/log" >&2
        count "$name" 0 1
    fi
}

# compile_only COMPILER STANDARD LANGUAGE < source
compile_only() {
    "$1" "-std=$2" -x "$3" -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only - \
        2> "$out/errors" && return
    echo "headers do not compile as $2:" >&2
    head -n 20 "$out/errors" >&2
    return 1
}

# Each header alone, twice in a row, and all of them in two orders; as C and as C++.
part_headers() {
    local good=0 bad=0 standard compiler language header all=() reversed=()
    for header in include/*.h include/*/*.h; do
        all+=("#include <${header#include/}>")
        reversed=("#include <${header#include/}>" "${reversed[@]}")
    done
    for standard in c11 c17 gnu17 c++17; do
        compiler=$CC language=c
        [ "$standard" = c++17 ] && compiler=$CXX language=c++
        for header in "${all[@]}"; do
            printf '%s\n' "$header" "$header" 'int unused;' |
                compile_only "$compiler" "$standard" "$language" && good=$((good + 1)) || bad=$((bad + 1))
        done
        printf '%s\n' "${all[@]}" 'int unused;' |
            compile_only "$compiler" "$standard" "$language" && good=$((good + 1)) || bad=$((bad + 1))
        printf '%s\n' "${reversed[@]}" 'int unused;' |
            compile_only "$compiler" "$standard" "$language" && good=$((good + 1)) || bad=$((bad + 1))
    done
    count "headers" "$good" "$bad"
}

# The library exports its API and nothing else, under its name.
part_symbols() {
    local good=0 bad=0
    nm -D --defined-only libcllm.so | awk '{ print $3 }' | sort > "$out/exported.txt"
    python3 c_tests/interface.py names > "$out/declared.txt"
    if [ -s "$out/declared.txt" ] && diff -u "$out/declared.txt" "$out/exported.txt" > "$out/diff"; then
        good=1
    else
        echo "exported symbols differ from what the headers declare:" >&2
        head -n 60 "$out/diff" >&2
        bad=1
    fi
    if readelf -d libcllm.so | grep -q 'SONAME.*\[libcllm\.so\.1\]'; then
        good=$((good + 1))
    else
        echo "libcllm.so has another SONAME than libcllm.so.1" >&2
        bad=$((bad + 1))
    fi
    # A kernel's instruction that the compiler did not inline is a call, tens of times as slow.
    nm libcllm.so > "$out/names" 2> "$out/errors"
    if ! grep -q '[tT] .*cllm_kernels' "$out/names"; then
        echo "libcllm.so shows no names of kernels" >&2
        bad=$((bad + 1))
    elif grep -E 'core_arch.*(x86.*(avx|sse|ssse|fma)|arm|aarch64)' "$out/names" | grep -v fmt > "$out/calls"; then
        echo "instructions that are calls:" >&2
        head -n 20 "$out/calls" >&2
        bad=$((bad + 1))
    else
        good=$((good + 1))
    fi
    # The static library shows the same names; those without prefix give way to a program's own, and
    # the library itself never calls by them.
    nm -g --defined-only libcllm.a 2> "$out/errors" | awk 'NF == 3 { print $3 }' | sort > "$out/global.txt"
    nm -g --defined-only libcllm.a 2> "$out/errors" | awk '$2 == "W" { print $3 }' | sort > "$out/weak.txt"
    if diff -u "$out/declared.txt" "$out/global.txt" > "$out/diff" &&
        diff -u <(grep -v "^cllm_" "$out/declared.txt") "$out/weak.txt" > "$out/diff" &&
        ! readelf -rW libcllm.a | awk '{ print $5 }' | grep -xFf "$out/weak.txt" > "$out/diff"; then
        good=$((good + 1))
    else
        echo "libcllm.a shows other names than it should:" >&2
        head -n 60 "$out/diff" >&2
        bad=$((bad + 1))
    fi
    count "symbols" "$good" "$bad"
}

# An old link line, and the static library.
part_link() {
    local good=0 bad=0 native
    if build_c "$out/old_link" c_tests/link_check.c -lcllm -lcrystalline -lalgorithms &&
        "$out/old_link"; then
        good=1
    else
        bad=1
    fi
    # An old program in a folder beside include/, without -Iinclude for its own headers.
    if build_c "$out/old_program" c_tests/test_old_program.c -lcllm -lcrystalline -lalgorithms &&
        "$out/old_program" > "$out/log"; then
        good=$((good + 1))
    else
        bad=$((bad + 1))
    fi
    native=(-lpthread -lm -ldl)
    if "$CC" -std=c11 "${strict[@]}" -Iinclude c_tests/link_check.c libcllm.a "${native[@]}" \
        -o "$out/static_link" && "$out/static_link"; then
        good=$((good + 1))
    else
        bad=$((bad + 1))
    fi
    # A program with functions of its own of the library's names.
    if "$CC" -std=c11 "${strict[@]}" -Iinclude c_tests/link_own_names.c libcllm.a "${native[@]}" \
        -o "$out/own_names" && "$out/own_names" &&
        build_c "$out/own_names" c_tests/link_own_names.c -lcllm && "$out/own_names"; then
        good=$((good + 1))
    else
        bad=$((bad + 1))
    fi
    # Beside a static library of another Rust compiler run, in both orders and modes. With LTO it
    # brings all that the compiler's own library defines.
    cat > "$out/other.rs" <<'RUST'
#[unsafe(no_mangle)]
pub extern "C" fn other_rust(x: i32) -> i32 {
    std::panic::set_hook(Box::new(|_| ()));
    std::panic::catch_unwind(|| if x < 0 { panic!("on purpose") } else { x + 1 }).unwrap_or(-7)
}
RUST
    rustc --edition 2024 --crate-type staticlib -O -C lto=fat "$out/other.rs" -o "$out/libother.a" ||
        bad=$((bad + 1))
    for native in "$out/libother.a libcllm.a" "libcllm.a $out/libother.a"; do
        # shellcheck disable=SC2086
        if "$CC" -std=c11 "${strict[@]}" -DWITH_OTHER_RUST -Iinclude c_tests/link_own_names.c $native \
            -lpthread -lm -ldl -o "$out/two_rust" && "$out/two_rust"; then
            good=$((good + 1))
        else
            bad=$((bad + 1))
        fi
    done
    count "link lines" "$good" "$bad"
}

# The C program in README.md, compiled as it stands there, run beside a trained model.
part_readme() {
    local good=0 bad=0 lines dir=$out/readme text
    rm -rf "$dir"
    mkdir -p "$dir"
    awk '/^```c$/ { inside = 1; next } /^```$/ && inside { exit } inside' README.md > "$dir/example.c"
    lines=$(wc -l < "$dir/example.c")
    if [ "$lines" -ge 5 ] && [ "$lines" -le 12 ]; then good=1; else
        echo "README.md: the C example has $lines lines" >&2
        bad=1
    fi
    if build_c "$dir/example" "$dir/example.c" -lcllm &&
        printf 'int main ( void ) { return 0 ; } %.0s' 1 2 3 4 5 6 7 8 > "$dir/text" &&
        tools/train_model "$dir/text" --tokens words --quiet --batch-size 1 --seq-len 8 --embed-dim 16 \
            --num-layers 1 --num-heads 1 --epochs 1 --checkpoint-dir "$dir/checkpoints" > /dev/null &&
        text=$(cd "$dir" && ./example) && [[ $text == "int main "?* ]]; then
        good=$((good + 1))
    else
        echo "README.md: the C example does not work: '${text:-}'" >&2
        bad=$((bad + 1))
    fi
    rm -rf "$dir/checkpoints"
    (cd "$dir" && ./example > no_model.out 2> no_model.err) # no model: an exit status, no crash
    if [ $? -eq 1 ] && [ -s "$dir/no_model.err" ]; then good=$((good + 1)); else
        echo "README.md: the C example does not say that its model is missing" >&2
        bad=$((bad + 1))
    fi
    # The longer example is a part of a program: it must compile.
    {
        printf '#include <%s.h>\n' stdio stdlib cllm_data_loader cllm_training_mt cllm_utils \
            cllm_format cllm_ext
        echo 'int main(void) {'
        awk '/^```C$/ { inside = 1; next } /^```$/ && inside { exit } inside' README.md
        echo 'return 0; }'
    } > "$dir/training.c"
    if grep -q cllm_train_epoch_mt "$dir/training.c" &&
        build_c "$dir/training" "$dir/training.c" -lcllm; then
        good=$((good + 1))
    else
        bad=$((bad + 1))
    fi
    count "README examples" "$good" "$bad"
}

# Sets `programs` to the folder of the tools: built with the sanitizers in asan mode.
find_tools() {
    local tool sources
    programs=tools
    [ "$mode" = asan ] || return 0
    programs=$out/tools
    mkdir -p "$programs"
    for tool in train_model cllm_inference cllm_tokenize cllm_vocab_build cllm_info; do
        sources=("tools/$tool.c" tools/{common,files,terminal,tokens}.c)
        [ "$tool" = train_model ] && sources=(tools/train_{model,alone,options,defaults,data,words,subwords,texts,prepare,mix,setup,folder,metrics,finish}.c tools/{common,files,terminal,tokens}.c)
        case $tool in
        train_model | cllm_vocab_build) sources+=(tools/{read_texts,text_files,vocabulary}.c) ;;
        cllm_tokenize) sources+=(tools/vocabulary.c) ;;
        cllm_inference) sources+=(tools/inference_session.c) ;;
        esac
        "$CC" -std=c11 "${strict[@]}" "${sanitize[@]}" -Iinclude "${sources[@]}" \
            -o "$programs/$tool" -L. -lcllm -lm "-Wl,-rpath,$PWD" || return
    done
}

# The tools on small inputs; in the other modes, the tools themselves are what is checked.
part_tools() {
    local programs limit=3600
    find_tools || { count "tools" 0 1; return; }
    # In an emulator they are scripts, which start it themselves: c_tests/arm64.sh.
    local each=("${wrapper[@]}")
    [ -n "${RUN_THROUGH-}" ] && each=()
    part_script tools c_tests/tools.sh "$programs" "${each[@]}"
}

# Folders of runs, how runs end and go on.
part_runs() {
    local programs
    find_tools || { count "runs" 0 1; return; }
    part_script runs c_tests/runs.sh "$programs"
}

# The tools with subwords and bytes.
part_subwords() {
    local programs
    find_tools || { count "subwords" 0 1; return; }
    part_script subwords c_tests/subwords.sh "$programs"
}

# Texts that do not fit into memory, in a small version.
part_stream() {
    local programs
    find_tools || { count "stream" 0 1; return; }
    part_script stream c_tests/stream.sh "$programs"
}

# Models larger than 4 GiB, which take 6 GiB of memory and of disk: where CLLM_LARGE asks for them.
part_large() {
    local limit=3600
    [ -n "${CLLM_LARGE-}" ] || return 0
    if build_c "$out/large_model" c_tests/large_model.c -lcllm; then
        part_script large c_tests/large.sh "$out/large_model"
    else
        count large 0 1
    fi
}

# Training over several processes, where there is an MPI; in the long version more of them are killed.
part_ranks() {
    local limit=1800
    if [ ! -x tools/train_model_mpi ] || ! command -v mpirun > /dev/null; then
        echo "ranks left out: there is no MPI" >&2
        count ranks 0 0 1
        return
    fi
    part_script ranks c_tests/ranks.sh tools "$([ "$mode" = reliability ] && echo 20)"
}

part_terminal() {
    local programs
    command -v python3 > /dev/null || { echo "terminal left out: python3 is not installed" >&2; return; }
    find_tools || { count "terminal" 0 1; return; }
    part_script terminal c_tests/terminal.py "$programs"
}

# part_script NAME SCRIPT [ARGUMENT...]
part_script() {
    local good bad left
    timeout "${limit:-900}" "${@:2}" > "$out/$1.log"
    counts "$out/$1.log"
    [ $((good + bad)) -eq 0 ] && bad=1
    count "$1" "$good" "$bad" "$left"
}

part_info() {
    local programs
    find_tools || { count "info" 0 1; return; }
    part_script info c_tests/info.sh "$programs"
}

part_examples() { SANITIZE="${sanitize[*]}" part_script examples c_tests/examples.sh; }
part_docs() { if command -v python3 > /dev/null; then part_script docs c_tests/docs.py; else echo "docs left out: python3 is not installed" >&2; fi; }
part_old() { part_script old c_tests/old_programs.sh; }
part_install() { part_script install c_tests/install.sh; }
part_host() { part_script host c_tests/host.sh; }
# Kills, hostile files, threads and misuse, resuming; a few kills in plain, 600 in reliability.
part_survival() {
    local name arguments kills=30
    [ "$mode" = reliability ] && kills=600
    for name in crash hostile stress resume; do
        arguments=()
        [ "$name" = crash ] && arguments=("$kills")
        if build_c "$out/survival_$name" "c_tests/reliability/$name.c" -lcllm; then
            run_program "survival: $name" "$out/survival_$name" "${arguments[@]}"
            [ "$mode" = reliability ] && sed 's/^/    /' "$out/errors"
        else
            count "survival: $name" 0 1
        fi
    done
}

# train_model, killed at random moments and resumed.
part_resume() {
    run_program "resume after SIGKILL" bash c_tests/reliability/resume.sh tools 12
}

# cargo_test NAME [+TOOLCHAIN] ARGUMENT...
cargo_test() {
    local name=$1 cargo=(cargo) status=0
    shift
    case $1 in +*) cargo+=("$1") && shift ;; esac
    "${cargo[@]}" test "$@" > "$out/cargo.log" 2>&1 || status=1
    [ "$status" -ne 0 ] && tail -n 40 "$out/cargo.log" >&2
    grep -E '^(model|state|vocab|dataset|text): |faults injected' "$out/cargo.log" | sed 's/^/    /'
    count "$name" "$(awk '/^test result:/ { n += $4 } END { print n + 0 }' "$out/cargo.log")" $status
}

# An injected failure at every point of the main paths, and of every exported function; in a folder
# of its own, so that no library is replaced.
part_faults() {
    cargo_test "injected faults" --target-dir target/faults --features fault-injection \
        --test faults -- --nocapture
    local sweep=$out/fault_sweep
    if ! cargo build --quiet --target-dir target/faults --features fault-injection --lib ||
        ! ln -sf libcllm.so target/faults/debug/libcllm.so.1 ||
        ! python3 c_tests/fault_sweep.py "$sweep.c" ||
        ! "$CC" -std=gnu11 "${strict[@]}" -O0 -Iinclude -Ic_tests "$sweep.c" -o "$sweep" \
            -Ltarget/faults/debug -lcllm -lm -lpthread "-Wl,-rpath,$PWD/target/faults/debug"; then
        count "faults in every function" 0 1
        return
    fi
    # Without a cache for each thread, malloc counts exactly what is in use.
    GLIBC_TUNABLES=glibc.malloc.tcache_count=0 run_program "faults in every function" "$sweep"
    sed -n '/faults injected/s/^/    /p' "$out/errors"
}

part_replay() {
    CLLM_MUTATIONS=20000 cargo_test "seeds and mutations" --test fuzz_replay -- --nocapture
}

# Twenty seconds of libFuzzer for each target, where the toolchain can build them.
part_fuzz() {
    local status
    fuzz/run.sh 20 > "$out/fuzz.log" 2>&1
    status=$?
    if [ "$status" -eq 77 ]; then
        echo "fuzz targets: the toolchain can't build them" >&2
        return
    fi
    grep -E 'executions|FINDING' "$out/fuzz.log" | sed 's/^/    /'
    [ "$status" -ne 0 ] && tail -n 40 "$out/fuzz.log" >&2
    count "fuzz targets" "$(grep -c 'no finding' "$out/fuzz.log")" $status
}

# The Rust tests that start threads, under ThreadSanitizer. The standard library must be
# instrumented too, so it is built from its source, where some toolchain has that.
part_tsan() {
    local toolchain= candidate triple
    for candidate in default nightly stable; do
        [ "$candidate" = default ] && candidate=$(rustup show active-toolchain 2> /dev/null | cut -d ' ' -f 1)
        [ -e "$(rustc "+$candidate" --print sysroot 2> /dev/null)/lib/rustlib/src/rust/library/Cargo.lock" ] &&
            toolchain=$candidate && break
    done
    if [ -z "$toolchain" ]; then
        echo "ThreadSanitizer left out: no toolchain has its library's source (rustup component add rust-src)" >&2
        return
    fi
    triple=$(rustc "+$toolchain" -vV | sed -n 's/^host: //p')
    TSAN_OPTIONS="halt_on_error=0 exitcode=66" RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread" \
        cargo_test "Rust tests, ThreadSanitizer" "+$toolchain" -Zbuild-std --target "$triple" \
        --target-dir target/tsan --no-fail-fast --lib --test threads --test pipeline --test gradients
    grep -c 'WARNING: ThreadSanitizer' "$out/cargo.log" | sed 's/^/    reports: /'
}

# The team of threads, in every order that its threads can take: crates/kernels/src/threads/loom.rs.
part_loom() {
    RUSTFLAGS="--cfg loom" cargo_test "team of threads, loom" --target-dir target/loom \
        -p cllm-kernels --lib threads::loom
}

for part in "${parts[@]}"; do
    if ! declare -F "part_$part" > /dev/null; then
        echo "$0: there is no part '$part'" >&2
        exit 2
    fi
    "part_$part"
done
[ "$mode" = reliability ] || printf 'total (%s): ' "$mode"
printf '%d passed, %d failed%s\n' "$passed" "$failed" "$(with_skipped "$skipped")"
[ "$failed" -eq 0 ]

#!/usr/bin/env bash
# Programs as they were written for the original library, in c_tests/old: built without a change, with
# the link lines of its makefiles, and run; what they print is compared whole with NAME.out.
# c_tests/old_programs.sh, in a built tree. The last line is "N passed, N failed".
cd "$(dirname "$0")/.." || exit 1
. c_tests/check.sh
CC=${CC:-cc}

# old NAME LINK...: builds c_tests/old/NAME.c from another folder, as the makefiles there do, and runs it.
old() {
    local name=$1 tree=$PWD
    shift
    if ! (cd c_tests/old && "$CC" -std=gnu11 -Wall -Wextra -Werror -I../../include "$name.c" \
        -o "$work/$name" "$@") > "$work/log" 2>&1; then
        fail "$name: does not build with $*"
        return
    fi
    (cd "$work" && LD_LIBRARY_PATH=$tree timeout 60 "./$name" "$work/model.cllm") \
        > "$work/stdout" 2> "$work/stderr"
    check "$name, $*: runs" test $? -eq 0
    check "$name, $*: prints" diff "c_tests/old/$name.out" "$work/stdout"
    # A pipe, which C's stdout buffers, has the same text in the same order.
    (cd "$work" && LD_LIBRARY_PATH=$tree "./$name" "$work/model.cllm" | cat) > "$work/stdout" 2> "$work/stderr"
    check "$name, $*: prints to a pipe" diff "c_tests/old/$name.out" "$work/stdout"
}
top=(-L../..)
bits=(-lm -lpthread -ldl)

old prototypes "${top[@]}" -lcrystalline -lcllm -lm
old types "${top[@]}" -lcllm -lcrystalline -lalgorithms
old one_header "${top[@]}" -lcllm -lcrystalline -lm
check "the model of one_header" tools/cllm_info "$work/model.cllm"
old longer_model "${top[@]}" -lcllm -lcrystalline -lalgorithms -lm -lpthread
old optimizer "${top[@]}" -lcllm -lcrystalline -lm -lpthread

# The names of libraries: shared, static, and the files themselves.
old names "${top[@]}" -lcllm -lcrystalline -lalgorithms
old names "${top[@]}" -lprimemath -lm
old names "${top[@]}" -lalgorithms
check "a shared library is used" bash -c "readelf -d '$work/names' | grep -qF '[libcllm.so.1]'"
old names "${top[@]}" -Wl,-Bstatic -lcllm -lcrystalline -lalgorithms -Wl,-Bdynamic "${bits[@]}"
old names "${top[@]}" -Wl,-Bstatic -lcllm -lalgorithms -lcrystalline -Wl,-Bdynamic -lm -lpthread
old names "${top[@]}" -Wl,-Bstatic -lprimemath -Wl,-Bdynamic "${bits[@]}"
for name in primemath crystalline algorithms; do
    old names "../../lib$name.a" "${bits[@]}"
done
check "no shared library is used" bash -c "! readelf -d '$work/names' | grep -qF libcllm"

# Each header alone shows prime_types.h where the original's does.
for header in inference format training training_mt training_parallel training_threaded production train_complete; do
    check "cllm_$header.h shows prime_types.h" "$CC" -std=c11 -Werror -Iinclude -fsyntax-only -xc - <<< "
#include <cllm_$header.h>
#if SYMMETRY_ORDER != 12 || !defined FIXED_POINT_SCALE || !defined BIGINT_IS_ZERO || defined HUGE_VAL
#error
#endif
extern BigInt *number;
extern CLLMModel *model;"
done
# <math.h> before and after, strict and not.
for standard in c11 gnu11 gnu17; do
    for order in "math prime_types prime_float_math" "prime_float_math prime_types math" "prime_types math prime_float_math"; do
        # shellcheck disable=SC2086
        check "<math.h>: $standard, $order" "$CC" "-std=$standard" -Wall -Wextra -Wsystem-headers -Werror \
            -Iinclude -fsyntax-only -xc - <<< "$(printf '#include <%s.h>\n' $order)
double numbers[] = {M_PI, M_LN2, M_LN10, M_E, INFINITY, NAN};"
    done
done
finish

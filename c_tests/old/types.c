/* A module of the original's kind beside the library: the types of prime_types.h by way of another
 * header, functions of its own on them, and names of its own that <math.h> or a tag would take. */
#include "cllm_training.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "prime_float_math.h"
#include <stdio.h>
#include <stdlib.h>

#ifdef HUGE_VAL
#error "<math.h> is included"
#endif
#if FIXED_POINT_SCALE != 4294967296
#error "FIXED_POINT_SCALE"
#endif

/* Tags are free: the original's types have none, but for two. */
struct Matrix { int mine; };
struct BigInt { int mine; };

static double signgam(double x) { return x * EINSTEIN_LAMBDA * 48000.0; }

static void list(const SeenTable *table) {
    for (int i = 0; i < table->num_buckets; i++)
        for (const struct SeenNode *node = table->buckets[i]; node; node = node->next)
            printf("seen %d\n", node->value);
}

int main(void) {
    uint32_t digits[2] = {0, 7};
    BigInt numbers[3] = {{digits, 2, 2, 0, 0, 0, 0}, {digits, 1, 2, 0, 0, 1, 0}, {NULL, 0, 0, 0, 0, 0, 0}};
    for (int i = 0; i < 3; i++)
        printf("zero %d negative %d sign %d\n", BIGINT_IS_ZERO(&numbers[i]),
               BIGINT_IS_NEGATIVE(numbers + i), BIGINT_SIGN(i < 3 ? &numbers[i] : NULL));
    SeenNode last = {5, NULL}, first = {3, &last};
    SeenNode *buckets[2] = {&first, NULL};
    SeenTable seen = {buckets, 2};
    CrystalAbacus abacus = {calloc(4, sizeof(int)), 0, 4, 2, &seen};
    abacus.primes[abacus.num_primes++] = abacus.candidate;
    list(abacus.seen);
    LatticePoint point = {{{0}, {0}, {0}}, numbers[0], (int)(7 % SYMMETRY_ORDER), 1.5};
    Lattice lattice = {&point, 1, 1, {{0}, {0}, {0}}, SYMMETRY_ORDER};
    ClockPosition clock = {90, PI / 2, 3, 1, true, 0, 1, 3};
    CompleteClockMapping mapping = {.clock = clock, .embed = {{1, 2}, 7}, .psi = {3, 4, 5, 0, 2, 1, 2}};
    LatticeEmbed same = mapping.embed;
    struct Matrix tag = {1};
    struct BigInt number = {2};
    PrimeRainbowNode node = {{&numbers[0]}, NULL, 0};
    PrimeRainbowTable table = {.root = &node, .count = 1};
    printf("%d primes, first %d; group %d of %d; hour %d on boundary %d\n", (int)abacus.num_primes,
           abacus.primes[0], lattice.points[0].symmetry_group, lattice.symmetry_order,
           mapping.clock.position, clock.on_boundary);
    printf("%d %d %d; %.6f; %.7f; tags %d %d; root %u\n", (int)mapping.psi.c, (int)same.value,
           (int)same.residues[1], signgam(1.0), PI_DUST, tag.mine, number.mine,
           table.root->entry.prime->d[1]);
    printf("%d %d\n", (int)sizeof(CompleteClockMapping), (int)sizeof(PrimeMathStats));
    printf("%.4f %d %d\n", prime_sqrt(2.0), INFINITY > 1e30, NAN == NAN);
    free(abacus.primes);
    return 0;
}

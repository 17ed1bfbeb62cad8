/* The functions of cllm_format.h that touch no file. */
#include <limits.h>
#include <time.h>

#include "cllm_format.h"
#include "harness.h"

#define TAU 6.283185307179586476925
#define GOLDEN 1.618033988749895

static int is_prime(uint64_t n) {
    for (uint64_t d = 2; d * d <= n; d++)
        if (n % d == 0) return 0;
    return n >= 2;
}

static void header(void) {
    CLLMHeader h;
    memset(&h, 0xAA, sizeof h);
    time_t before = time(NULL);
    cllm_header_init(&h, "a name", "a description");
    CHECK(memcmp(h.magic, "CLLM\1\0\0\0", 8) == 0);
    CHECK(h.version == 1 && h.architecture == 1 && h.vocab_size == 50000 && h.embedding_dim == 768);
    CHECK(h.num_layers == 12 && h.num_heads == 12 && h.context_length == 2048 && h.symmetry_order == 12);
    CHECK(h.golden_ratio == GOLDEN);
    CHECK(h.timestamp >= (uint64_t)before && h.timestamp <= (uint64_t)time(NULL));
    CHECK(strcmp(h.model_name, "a name") == 0 && strcmp(h.description, "a description") == 0);
    CHECK(h.created_timestamp == 0 && h.modified_timestamp == 0 && h.total_params == 0 && h.num_lattice_points == 0);
    int rest = 0;
    for (size_t i = 0; i < sizeof h.reserved; i++) rest |= h.reserved[i];
    for (size_t i = 6; i < sizeof h.model_name; i++) rest |= h.model_name[i];
    CHECK(rest == 0);

    char text[3000];
    memset(text, 'x', sizeof text);
    text[2999] = 0;
    cllm_header_init(&h, text, text);
    CHECK(strlen(h.model_name) == 255 && strlen(h.description) == 1023);
    cllm_header_init(&h, NULL, NULL); /* DEFECT: crashed */
    CHECK(h.model_name[0] == 0 && h.description[0] == 0);
    strcpy(h.model_name, "inside");
    cllm_header_init(&h, h.model_name, NULL);
    CHECK(strcmp(h.model_name, "inside") == 0);
    cllm_header_init(NULL, "a", "b");
}

static void clock_points(void) {
    float xyz[3], angle, radius;
    cllm_prime_to_lattice(7, xyz, &angle, &radius);
    CHECK_NEAR(xyz[0], -3.343745, 1e-6);
    CHECK_NEAR(xyz[1], -1.930512, 1e-6);
    CHECK_NEAR(xyz[2], 4.043770, 1e-6);
    CHECK_NEAR(angle, 3.665191, 1e-6);
    CHECK_NEAR(radius, 3.861024, 1e-6);
    for (uint64_t p = 1; p < 3000; p += 7) {
        cllm_prime_to_lattice(p, xyz, &angle, &radius);
        double r = pow(GOLDEN, log2((double)p)), a = TAU * (double)(p % 12) / 12;
        CHECK_NEAR(angle, a, 1e-6);
        CHECK_NEAR(radius, r, 2e-7 * r);
        CHECK_NEAR(xyz[0], r * cos(a), 1e-6 * r);
        CHECK_NEAR(xyz[1], r * sin(a), 1e-6 * r);
        CHECK_NEAR(xyz[2], log((double)p) / log(GOLDEN), 2e-6);
    }
    cllm_prime_to_lattice(1, xyz, &angle, &radius);
    CHECK(radius == 1 && xyz[2] == 0);
    cllm_prime_to_lattice(0, xyz, &angle, &radius); /* DEFECT: z near -2e10 */
    CHECK(xyz[0] == 0 && xyz[1] == 0 && xyz[2] == 0 && angle == 0 && radius == 0);
    cllm_prime_to_lattice(7, NULL, &angle, NULL);
    CHECK_NEAR(angle, 3.665191, 1e-6);
    cllm_prime_to_lattice(7, xyz, NULL, &radius);
    CHECK_NEAR(radius, 3.861024, 1e-6);
    cllm_prime_to_lattice(UINT64_MAX, NULL, NULL, NULL);
}

static void primes(void) {
    uint64_t next = 2;
    for (uint64_t n = 0; n < 5000; n++) {
        while (next < n || !is_prime(next)) next++;
        CHECK(cllm_nearest_prime(n) == next);
    }
    CHECK(cllm_nearest_prime(4294967296u) == 4294967311u);
    CHECK(cllm_nearest_prime(3215031751u) == 3215031767u); /* a strong pseudoprime to 2, 3, 5, 7 */
    CHECK(cllm_nearest_prime(18446744073709551557u) == 18446744073709551557u);
    /* DEFECT: wrapped round to 2 */
    CHECK(cllm_nearest_prime(18446744073709551558u) == 0);
    CHECK(cllm_nearest_prime(UINT64_MAX) == 0);

    static const uint64_t first[12] = {2, 2, 5, 7, 11, 11, 13, 23, 29, 29, 31, 37};
    for (uint32_t t = 0; t < 12; t++) CHECK(cllm_token_to_prime(t) == first[t]);
    CHECK(cllm_token_to_prime(1000) == 7001 && cllm_token_to_prime(50000) == 550007);
    CHECK(cllm_token_to_prime(UINT32_MAX) == cllm_nearest_prime((uint64_t)UINT32_MAX * 23));
    uint64_t last = 0;
    int repeats = 0;
    for (uint32_t t = 0; t < 50000; t++) {
        uint64_t p = cllm_token_to_prime(t);
        repeats += p == last;
        CHECK(p >= last);
        last = p;
    }
    CHECK(repeats == 18063);
}

static void tokens(void) {
    CLLMToken t;
    memset(&t, 0xAA, sizeof t);
    cllm_token_create(&t, 1000, "word");
    CHECK(t.token_id == 1000 && t.prime_encoding == 7001 && t.symmetry_group == 7001 % 12);
    CHECK(strcmp(t.token_str, "word") == 0 && t.angle == 0 && t.radius == 0 && t.frequency == 0);
    float xyz[3], angle, radius;
    cllm_prime_to_lattice(7001, xyz, &angle, &radius);
    CHECK(memcmp(t.lattice_coords, xyz, sizeof xyz) == 0 && t.spiral_angle == angle && t.radial_distance == radius);
    int rest = 0;
    for (size_t i = 0; i < sizeof t.reserved; i++) rest |= t.reserved[i];
    CHECK(rest == 0);
    char text[200];
    memset(text, 'y', sizeof text);
    text[199] = 0;
    cllm_token_create(&t, 1, text);
    CHECK(strlen(t.token_str) == 63);
    /* a two-byte character across the end is left out whole */
    memcpy(text + 62, "\xC3\xA9", 2);
    cllm_token_create(&t, 1, text);
    CHECK(strlen(t.token_str) == 62);
    cllm_token_create(&t, 2, NULL); /* DEFECT: crashed */
    CHECK(t.token_id == 2 && t.token_str[0] == 0);
    cllm_token_create(NULL, 2, "x");
}

static void points(void) {
    CLLMLatticePoint p;
    memset(&p, 0xAA, sizeof p);
    cllm_lattice_point_create(&p, 7, 1, -2, 3, 13);
    CHECK(p.point_id == 7 && p.prime == 0 && p.prime_factor == 13 && p.symmetry_group == 1);
    CHECK(p.coords[0] == 1 && p.coords[1] == -2 && p.coords[2] == 3);
    CHECK_NEAR(p.resonance, 1 / log(14), 1e-7);
    CHECK(p.num_neighbors == 0 && p.neighbor_count == 0 && p.embedding == NULL && p.angle == 0);
    cllm_lattice_point_create(&p, 7, 1, 2, 3, 0); /* DEFECT: infinite */
    CHECK(p.resonance == 0);
    cllm_lattice_point_create(&p, 7, 1, 2, 3, UINT32_MAX); /* DEFECT: wrapped */
    CHECK_NEAR(p.resonance, 1 / log(4294967296.0), 1e-8);
    cllm_lattice_point_create(NULL, 7, 1, 2, 3, 5);

    CLLMLatticePoint a, b;
    cllm_lattice_point_create(&a, 1, 1, 2, 3, 2);
    cllm_lattice_point_create(&b, 2, 3, 5, 9, 3);
    CHECK(cllm_lattice_distance(&a, &b) == 7 && cllm_lattice_distance(&a, &a) == 0);
    CHECK(cllm_lattice_distance(NULL, &b) == 0 && cllm_lattice_distance(&a, NULL) == 0);
}

static void neighbours(void) {
    CLLMLatticePoint all[30];
    for (uint32_t i = 0; i < 30; i++) cllm_lattice_point_create(&all[i], i + 100, (float)i, 0, 0, 2);
    CLLMLatticePoint *p = &all[20]; /* one of the array itself */
    p->num_neighbors = 5;
    p->neighbor_ids[0] = 55;
    cllm_lattice_find_neighbors(p, all, 30, 2);
    CHECK(p->neighbor_count == 4);
    CHECK(p->neighbors[0] == 118 && p->neighbors[1] == 119 && p->neighbors[2] == 121 && p->neighbors[3] == 122);
    CHECK(p->num_neighbors == 5 && p->neighbor_ids[0] == 55);
    cllm_lattice_find_neighbors(p, all, 30, 1000); /* the first 12 in order, not the nearest */
    CHECK(p->neighbor_count == 12 && p->neighbors[0] == 100 && p->neighbors[11] == 111);
    cllm_lattice_find_neighbors(p, all, 30, -1);
    CHECK(p->neighbor_count == 0);
    cllm_lattice_find_neighbors(p, all, 30, 2);
    cllm_lattice_find_neighbors(p, all, 30, NAN);
    CHECK(p->neighbor_count == 0);
    cllm_lattice_find_neighbors(p, all, 30, 2);
    cllm_lattice_find_neighbors(p, all, 0, 2);
    CHECK(p->neighbor_count == 0);
    cllm_lattice_find_neighbors(p, all, 30, 2);
    cllm_lattice_find_neighbors(p, all, -1, 2);
    cllm_lattice_find_neighbors(p, NULL, 30, 2);
    cllm_lattice_find_neighbors(NULL, all, 30, 2);
    CHECK(p->neighbor_count == 4);
}

int main(void) {
    RUN(header);
    RUN(clock_points);
    RUN(primes);
    RUN(tokens);
    RUN(points);
    RUN(neighbours);
    return harness_report();
}

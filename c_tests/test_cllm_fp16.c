/* cllm_fp16.h */
#include "cllm_fp16.h"
#include "harness.h"

static uint16_t half_of(float x) {
    uint16_t h = 0xDEAD;
    fp32_to_fp16(&h, &x, 1);
    return h;
}

static float single_of(uint16_t h) {
    float x = -77.0f;
    fp16_to_fp32(&x, &h, 1);
    return x;
}

static float bits(uint32_t b) {
    float x;
    memcpy(&x, &b, sizeof x);
    return x;
}

static void rounding(void) {
    CHECK(half_of(0.0f) == 0x0000);
    CHECK(half_of(-0.0f) == 0x8000);
    CHECK(half_of(1.0f) == 0x3C00);
    CHECK(half_of(-2.0f) == 0xC000);
    CHECK(half_of(1e-3f) == 0x1419);
    CHECK(half_of(1e-6f) == 0x0011);
    CHECK(half_of(65504.0f) == 0x7BFF);
    CHECK(half_of(65519.9f) == 0x7BFF);
    CHECK(half_of(65520.0f) == 0x7C00);
    CHECK(half_of(INFINITY) == 0x7C00);
    CHECK(half_of(-INFINITY) == 0xFC00);
    CHECK((half_of(NAN) & 0x7C00) == 0x7C00 && (half_of(NAN) & 0x03FF) != 0);
    /* ties to even: 1 + 2^-11 and 1 + 3*2^-11 */
    CHECK(half_of(1.00048828125f) == 0x3C00);
    CHECK(half_of(1.00146484375f) == 0x3C02);
    /* the smallest subnormal, half of it (tie to 0), a bit more */
    CHECK(half_of(ldexpf(1.0f, -24)) == 0x0001);
    CHECK(half_of(ldexpf(1.0f, -25)) == 0x0000);
    CHECK(half_of(ldexpf(1.1f, -25)) == 0x0001);
    CHECK(half_of(ldexpf(1.0f, -15)) == 0x0200);
}

static void every_half_survives(void) {
    int bad = 0;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float x = single_of((uint16_t)h);
        int nan = (h & 0x7C00) == 0x7C00 && (h & 0x3FF) != 0;
        double sign = h & 0x8000 ? -1 : 1;
        int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
        double want = exponent == 31 ? INFINITY
                      : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                                     : ldexp(mantissa, -24);
        if (nan ? !isnan(x) : x != (float)(sign * want)) bad++;
        if (!nan && half_of(x) != h) bad++;
    }
    CHECK(bad == 0);
    uint32_t payload;
    float x = single_of(0x7E55);
    memcpy(&payload, &x, 4);
    CHECK((payload & 0x7FFFFF) == (uint32_t)0x255 << 13);
}

static void arrays_and_refusals(void) {
    float x[37], back[37];
    uint16_t h[37];
    for (int i = 0; i < 37; i++) x[i] = (float)(i * i) - 100.5f;
    fp32_to_fp16(h, x, 37);
    fp16_to_fp32(back, h, 37);
    for (int i = 0; i < 37; i++) CHECK_NEAR(back[i], x[i], 0.5);
    fp32_to_fp16(NULL, x, 3);
    fp32_to_fp16(h, NULL, 3);
    fp16_to_fp32(NULL, h, 3);
    fp16_to_fp32(back, NULL, 3);
    fp32_to_fp16(NULL, NULL, 0);
    float keep = back[1];
    fp16_to_fp32(back, (uint16_t *)(void *)back, 4);
    CHECK(back[1] == keep);
    fp32_to_fp16((uint16_t *)(void *)back, back, 4);
    CHECK(back[1] == keep);
}

static void scaling(void) {
    float x[19];
    for (int i = 0; i < 19; i++) x[i] = (float)i;
    scale_fp32_array(x, 19, -0.5f);
    for (int i = 0; i < 19; i++) CHECK(x[i] == -0.5f * (float)i);
    scale_fp32_array(x, 0, 9.0f);
    CHECK(x[18] == -9.0f);
    scale_fp32_array(NULL, 5, 2.0f);
}

static void nan_or_inf(void) {
    float x[33] = {0};
    CHECK(has_nan_or_inf(x, 33) == 0);
    x[32] = NAN;
    CHECK(has_nan_or_inf(x, 33) == 1);
    CHECK(has_nan_or_inf(x, 32) == 0);
    x[32] = -INFINITY;
    CHECK(has_nan_or_inf(x, 33) == 1);
    x[32] = 3e38f; /* finite: DEFECT of the original */
    CHECK(has_nan_or_inf(x, 33) == 0);
    x[32] = bits(0xFFC00001);
    CHECK(has_nan_or_inf(x, 33) == 1);
    CHECK(has_nan_or_inf(NULL, 3) == 0);
    CHECK(has_nan_or_inf(NULL, 0) == 0);
}

int main(void) {
    RUN(rounding);
    RUN(every_half_survives);
    RUN(arrays_and_refusals);
    RUN(scaling);
    RUN(nan_or_inf);
    return harness_report();
}

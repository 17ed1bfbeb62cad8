/* prime_float_math.h */
#include "prime_float_math.h"
#include "harness.h"

#include <float.h>

static uint64_t state = 99;

/* Uniform in low..high. */
static double draw(double low, double high) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * (double)(state >> 11) / 9007199254740992.0;
}

#define CLOSE(got, want) CHECK_NEAR((got), (want), 1e-13 * fabs(want) + 1e-300)
#define CLOSEF(got, want) CHECK_NEAR((got), (want), 1.2e-7 * fabs(want) + 1e-44)

static void doubles(void) {
    for (int i = 0; i < 500; i++) {
        double x = draw(-20, 20), y = draw(-5, 5), p = exp(draw(-40, 40));
        CLOSE(prime_exp(x), exp(x));
        CLOSE(prime_log(p), log(p));
        CLOSE(prime_log2(p), log2(p));
        CLOSE(prime_sqrt(p), sqrt(p));
        CLOSE(prime_sin(x), sin(x));
        CLOSE(prime_cos(x), cos(x));
        CLOSE(prime_tan(x), tan(x));
        CLOSE(prime_tanh(x), tanh(x));
        CLOSE(prime_atan(p * y), atan(p * y));
        CLOSE(prime_atan2(x, y), atan2(x, y));
        CLOSE(prime_acos(x / 20), acos(x / 20));
        CLOSE(prime_pow(p, y), pow(p, y));
        CLOSE(prime_fmod(p * x, y), fmod(p * x, y));
        CHECK(prime_floor(x) == floor(x));
        CHECK(prime_ceil(x) == ceil(x));
        CHECK(prime_round(x) == round(x));
        CHECK(prime_fmax(x, y) == fmax(x, y));
        CHECK(prime_fmin(x, y) == fmin(x, y));
    }
}

static void floats(void) {
    for (int i = 0; i < 500; i++) {
        float x = (float)draw(-20, 20), y = (float)draw(-5, 5), p = (float)exp(draw(-15, 15));
        CLOSEF(prime_expf(x), exp(x));
        CLOSEF(prime_logf(p), log(p));
        CLOSEF(prime_sqrtf(p), sqrt(p));
        CLOSEF(prime_powf(p, y), pow(p, y));
        CLOSEF(prime_sinf(x), sin(x));
        CLOSEF(prime_cosf(x), cos(x));
        CLOSEF(prime_tanf(x), tan(x));
        CLOSEF(prime_tanhf(x), tanh(x));
        CLOSEF(prime_atanf(x), atan(x));
        CLOSEF(prime_atan2f(x, y), atan2(x, y));
        CHECK(prime_fabsf(x) == fabsf(x));
        CHECK(prime_fmaxf(x, y) == fmaxf(x, y));
        CHECK(prime_fminf(x, y) == fminf(x, y));
    }
}

static void conventions(void) {
    CHECK(prime_sqrt(-1) == 0 && prime_sqrtf(-1) == 0);
    CHECK(prime_sqrt(0) == 0);
    CHECK(prime_log(0) == -DBL_MAX && prime_log(-5) == -DBL_MAX);
    CHECK(prime_log2(0) == -1e308 && prime_log2(-1) == -1e308);
    CHECK(prime_logf(0) == -1e10f && prime_logf(-3) == -1e10f);
    CHECK(prime_pow(0, 0) == 0 && prime_pow(0, -1) == 0 && prime_pow(0, 3) == 0);
    CHECK(prime_powf(0, 0) == 0 && prime_powf(0, -1) == 0 && prime_powf(0, 3) == 0);
    CHECK(prime_pow(-2, 0.5) == 0 && prime_powf(-2, 0.5f) == 0);
    CHECK(prime_pow(-2, 3) == -8 && prime_powf(-2, 4) == 16);
    CHECK(prime_pow(5, 0) == 1);
    CHECK(prime_tan(M_PI / 2) == 0);
    CHECK(prime_fmod(5, 0) == 0 && prime_fmod(-5, 3) == -2);
    CHECK(prime_atan2(0, 0) == 0 && prime_atan2f(0, 0) == 0);
    CHECK_NEAR(prime_atan2(1, 0), M_PI / 2, 1e-15);
    CHECK(prime_isinff(INFINITY) == 1 && prime_isinff(-INFINITY) == 1);
    CHECK(prime_isinff(FLT_MAX) == 0 && prime_isinff(NAN) == 0);
    CHECK(prime_isnanf(NAN) == 1 && prime_isnanf(INFINITY) == 0 && prime_isnanf(0) == 0);
    CHECK(prime_isnan(NAN) == 1 && prime_isnan(-INFINITY) == 0 && prime_isnan(1e308) == 0);
    CHECK(prime_fmax(NAN, 2) == 2 && prime_fminf(2, NAN) == 2);
    CHECK(isnan(prime_exp(NAN)) && isnan(prime_log(NAN)) && isnan(prime_sqrt(NAN)));
}

/* One by one what was wrong in the original. */
static void defects(void) {
    CLOSE(prime_exp(-1), exp(-1));
    CLOSE(prime_exp(20), exp(20));
    CLOSEF(prime_expf(-6), exp(-6));
    CLOSEF(prime_expf(-20), exp(-20));
    CLOSE(prime_log(100), log(100));
    CLOSE(prime_log(1e-8), log(1e-8));
    CLOSE(prime_sqrt(1e-6), 1e-3);
    CLOSE(prime_sqrt(1e9), sqrt(1e9));
    CLOSEF(prime_sqrtf(1e-6f), sqrt((double)1e-6f));
    CLOSE(prime_pow(10000, 0.5), 100.0);
    CLOSE(prime_acos(0.5), M_PI / 3);
    CLOSE(prime_atan(1), M_PI / 4);
    CLOSE(prime_tanh(-1), tanh(-1));
    CHECK(fabs(prime_sin(1e300)) <= 1); /* never returned */
    CHECK(fabsf(prime_cosf(1e38f)) <= 1);
    CHECK(isnan(prime_sinf(INFINITY)) && isnan(prime_tan(-INFINITY)));
    CHECK(isinf(prime_logf(INFINITY)));
    CHECK(prime_floor(-1e300) == -1e300 && prime_ceil(1e19) == 1e19 && prime_round(-1e20) == -1e20);
    CLOSE(prime_fmod(1e20, 7), fmod(1e20, 7));
}

int main(void) {
    CHECK(M_PI == 3.14159265358979323846 && M_E == 2.71828182845904523536);
    RUN(doubles);
    RUN(floats);
    RUN(conventions);
    RUN(defects);
    return harness_report();
}

/* Convolutions of 3x3 pixels, stride 1, padding 1, by minimal filtering: 16 products for each pair of
 * channels and four pixels, instead of 36 (Lavin and Gray, Fast Algorithms for Convolutional Neural
 * Networks, CVPR 2016, F(2x2, 3x3)). Pixels have their channels side by side. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EIGHT(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define FOUR(X) X(0) X(1) X(2) X(3)
#if defined(__AVX512F__)
#define W 16 /* floats in a vector */
#define R 8  /* rows that are multiplied at once, by two vectors: what the registers hold */
#define ROWS EIGHT
#elif defined(__AVX__)
#define W 8
#define R 4
#define ROWS FOUR
#elif defined(__aarch64__)
#define W 4
#define R 8
#define ROWS EIGHT
#else
#define W 4
#define R 4
#define ROWS FOUR
#endif
#define BYTES (W * (int)sizeof(float))
#define TILES 16 /* of 2x2 pixels that are worked on at once */
#define PLACES 16 /* of a tile's 4x4 transformed values */

typedef float V __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef int32_t I __attribute__((vector_size(BYTES), aligned(4), may_alias));

/* Numbers of channels must be multiples of it. */
int lanes(void) { return W; }

/* weight: [out, in, 3, 3]; packed: [PLACES, in, out]. */
void pack(const float *weight, float *packed, int in, int out) {
    for (int o = 0; o < out; o++) for (int c = 0; c < in; c++) {
        const float *g = weight + ((size_t)o * in + c) * 9;
        double half[4][3];
        for (int j = 0; j < 3; j++) {
            double a = g[j], b = g[3 + j], d = g[6 + j];
            half[0][j] = a, half[1][j] = (a + b + d) / 2, half[2][j] = (a - b + d) / 2, half[3][j] = d;
        }
        for (int i = 0; i < 4; i++) {
            double a = half[i][0], b = half[i][1], d = half[i][2];
            double row[4] = {a, (a + b + d) / 2, (a - b + d) / 2, d};
            for (int j = 0; j < 4; j++)
                packed[((size_t)(4 * i + j) * in + c) * out + o] = (float)row[j];
        }
    }
}

/* m [R, out] = v [R, in] times u [in, out], of which two vectors of columns. */
static inline __attribute__((always_inline)) void
wide(const float *restrict v, const float *restrict u, float *restrict m, int in, int out) {
#define ZERO(t) V a##t = {0}, b##t = {0};
    ROWS(ZERO)
    for (int k = 0; k < in; k++, u += out) {
        V p = *(const V *)u, q = *(const V *)(u + W);
#define ADD(t) a##t += v[t * in + k] * p, b##t += v[t * in + k] * q;
        ROWS(ADD)
    }
#define KEEP(t) *(V *)(m + t * out) = a##t, *(V *)(m + t * out + W) = b##t;
    ROWS(KEEP)
}

/* The same of 2 R rows and one vector of columns. */
static inline __attribute__((always_inline)) void
narrow(const float *restrict v, const float *restrict u, float *restrict m, int in, int out) {
    const float *restrict below = v + R * in;
    ROWS(ZERO)
    for (int k = 0; k < in; k++, u += out) {
        V p = *(const V *)u;
#define ADD_ONE(t) a##t += v[t * in + k] * p, b##t += below[t * in + k] * p;
        ROWS(ADD_ONE)
    }
#define KEEP_ONE(t) *(V *)(m + t * out) = a##t, *(V *)(m + (t + R) * out) = b##t;
    ROWS(KEEP_ONE)
}

/* All TILES rows and all columns. */
static inline __attribute__((always_inline)) void
multiplied(const float *v, const float *u, float *m, int in, int out) {
    int o = 0;
    for (; o + 2 * W <= out; o += 2 * W)
        for (int t = 0; t < TILES; t += R) wide(v + t * in, u + o, m + t * out + o, in, out);
    if (o < out)
        for (int t = 0; t < TILES; t += 2 * R) narrow(v + t * in, u + o, m + t * out + o, in, out);
}

/* With usual numbers of channels as constants, the rows need no pointers of their own. */
static void multiply(const float *v, const float *u, float *m, int in, int out) {
    switch (in) {
    case 16: multiplied(v, u, m, 16, out); break;
    case 32: multiplied(v, u, m, 32, out); break;
    case 48: multiplied(v, u, m, 48, out); break;
    case 64: multiplied(v, u, m, 64, out); break;
    case 128: multiplied(v, u, m, 128, out); break;
    default: multiplied(v, u, m, in, out);
    }
}

/* One tile of 4x4 pixels, transformed; the values of a place lie TILES * in apart. */
static void spread(const float *const *pixels, float *to, int in) {
    long step = (long)TILES * in;
    for (int k = 0; k < in; k += W) {
        V d[PLACES], e[PLACES];
#pragma GCC unroll 16
        for (int p = 0; p < PLACES; p++) d[p] = *(const V *)(pixels[p] + k);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            e[j] = d[j] - d[8 + j], e[4 + j] = d[4 + j] + d[8 + j],
            e[8 + j] = d[8 + j] - d[4 + j], e[12 + j] = d[4 + j] - d[12 + j];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const V *f = e + 4 * i;
            V row[4] = {f[0] - f[2], f[1] + f[2], f[2] - f[1], f[1] - f[3]};
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) *(V *)(to + (4 * i + j) * step + k) = row[j];
        }
    }
}

/* 2x2 pixels from the products of a tile, which lie TILES * out apart. */
static void gather(const float *from, const float *bias, V pixels[4], int out, int k) {
    long step = (long)TILES * out;
    V d[PLACES], e[8], b = *(const V *)(bias + k);
#pragma GCC unroll 16
    for (int p = 0; p < PLACES; p++) d[p] = *(const V *)(from + p * step + k);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
        e[j] = d[j] + d[4 + j] + d[8 + j], e[4 + j] = d[4 + j] - d[8 + j] - d[12 + j];
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const V *f = e + 4 * i;
        pixels[2 * i] = f[0] + f[1] + f[2] + b, pixels[2 * i + 1] = f[1] - f[2] - f[3] + b;
    }
}

/* Where the 2x2 pixels of a tile begin. */
typedef struct { long image; int row, column; } Tile;

static Tile tile_of(long place, int down, int across) {
    long rows = place / across;
    return (Tile){rows / down, (int)(rows % down) * 2, (int)(place % across) * 2};
}

static Tile next(Tile tile, int down, int across) {
    if ((tile.column += 2) < 2 * across) return tile;
    tile.column = 0;
    if ((tile.row += 2) < 2 * down) return tile;
    tile.row = 0, tile.image++;
    return tile;
}

/* x: [n, h, w, in]; packed: of `pack`; bias: [out]; more, or NULL: like y, added before relu; y:
 * [n, h, w, out]. Returns 0, or -1 where there is no memory. */
int convolve(const float *x, const float *packed, const float *bias, const float *more, float *y,
             int n, int h, int w, int in, int out, int relu, int threads) {
    int down = (h + 1) / 2, across = (w + 1) / 2, sound = 0;
    long tiles = (long)n * down * across, jobs = (tiles + TILES - 1) / TILES;
    long places[PLACES];
    for (int p = 0; p < PLACES; p++) places[p] = ((long)(p / 4) * w + p % 4) * in;
    (void)threads; /* without OpenMP */
#pragma omp parallel num_threads(threads) reduction(min : sound)
    {
        float *v = aligned_alloc(64, sizeof(float) * PLACES * TILES * in);
        float *m = aligned_alloc(64, sizeof(float) * PLACES * TILES * out);
        float *outside = calloc(in, sizeof(float));
        int room = v && m && outside;
        if (room) memset(v, 0, sizeof(float) * PLACES * TILES * in);
#pragma omp for schedule(static)
        for (long job = 0; job < jobs; job++) if (room) {
            long first = job * TILES;
            int count = first + TILES < tiles ? TILES : (int)(tiles - first);
            Tile tile = tile_of(first, down, across), end = tile;
            for (int t = 0; t < count; t++, end = next(end, down, across)) {
                int row = end.row - 1, column = end.column - 1;
                const float *corner = x + ((end.image * h + row) * w + column) * in;
                const float *pixels[PLACES];
                if (row >= 0 && column >= 0 && row + 4 <= h && column + 4 <= w)
                    for (int p = 0; p < PLACES; p++) pixels[p] = corner + places[p];
                else
                    for (int p = 0; p < PLACES; p++) {
                        int r = row + p / 4, c = column + p % 4;
                        int inside = r >= 0 && r < h && c >= 0 && c < w;
                        pixels[p] = inside ? corner + places[p] : outside;
                    }
                spread(pixels, v + t * in, in);
            }
            for (int p = 0; p < PLACES; p++)
                multiply(v + (long)p * TILES * in, packed + (long)p * in * out,
                         m + (long)p * TILES * out, in, out);
            for (int t = 0; t < count; t++, tile = next(tile, down, across)) {
                long corner = ((long)(tile.image * h + tile.row) * w + tile.column) * out;
                int beside = tile.column + 1 < w, below = tile.row + 1 < h;
                for (int k = 0; k < out; k += W) {
                    V found[4];
                    gather(m + t * out, bias, found, out, k);
#pragma GCC unroll 4
                    for (int q = 0; q < 4; q++) {
                        if ((q % 2 && !beside) || (q / 2 && !below)) continue;
                        long at = corner + (q / 2 * w + q % 2) * out + k;
                        V value = found[q];
                        if (more) value += *(const V *)(more + at);
                        if (relu) value = (V)((I)value & ~(I)(value < 0)); /* NaN stays */
                        *(V *)(y + at) = value;
                    }
                }
            }
        }
        sound = room ? 0 : -1;
        free(v);
        free(m);
        free(outside);
    }
    return sound;
}

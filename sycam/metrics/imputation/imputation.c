/* The compiled engine of sycam/metrics/imputation/impute.py: the same algorithm, one image at a time, so
 * that it never leaves the cache. Compiled for float and for double (REAL), and for the number of
 * COLOURS of an image that are solved together, which share the mask.
 *
 * A row is a list of blocks, one vector of each colour; the last columns of the last block may be
 * padding, which is never missing, so that zeros stay there and every loop runs over whole vectors.
 * Columns 2j and 2j + 1 make column j of a coarser grid. Each row is worked on from its first to its
 * last block with a missing pixel; outside of them working fields stay zero. Neighbours along a row
 * come from shuffled registers: unaligned loads of what was just stored would wait for it. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX2__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define W ((int)(BYTES / sizeof(REAL)))
typedef REAL V __attribute__((vector_size(BYTES)));
typedef __typeof__((V){0} > (V){0}) I; /* integers of the same size */
typedef int8_t B __attribute__((vector_size(BYTES / sizeof(REAL))));

/* Cells along the shorter and along the longer side at which coarsening ends, after one step at
 * least. In a thin image a side of 1 stays while the other goes on. */
#define COARSEST 8
#define LONGEST 32
#define SWEEPS 6   /* of Jacobi on the coarsest grid */
#define FAR ((REAL)0.1)   /* weight of a cell beside a missing one: FAR + NEAR for each of its four */
#define NEAR ((REAL)0.35) /* that is known */

static inline I iota(void) {
    I out;
    for (int k = 0; k < W; k++) out[k] = k;
    return out;
}

#ifdef __clang__
static inline V shuffle(V a, V b, I places) {
    V out;
    for (int k = 0; k < W; k++) out[k] = places[k] < W ? a[places[k]] : b[places[k] - W];
    return out;
}
#else
#define shuffle(a, b, places) __builtin_shuffle(a, b, places)
#endif
#define LEFT(before, x) shuffle(before, x, iota() + (W - 1))
#define RIGHT(x, after) shuffle(x, after, iota() + 1)
#define LOW(a, b) shuffle(a, b, (iota() >> 1) + (iota() & 1) * W)
#define HIGH(a, b) shuffle(a, b, (iota() >> 1) + (iota() & 1) * W + W / 2)
#define EVEN(a, b) shuffle(a, b, 2 * iota())
#define ODD(a, b) shuffle(a, b, 2 * iota() + 1)

static inline REAL total(V x) {
    REAL sum = 0;
    for (int k = 0; k < W; k++) sum += x[k];
    return sum;
}

/* A field of the mask has a vector a block, one of values COLOURS of them. Rows 0 to h + 2; those
 * outside 1 to h are zero, and so is a block after each row and before the first. */
typedef struct {
    int h, w, n; /* n: blocks of a row */
    REAL lift; /* of what two cells of a line hand to the coarser grid, where others have four: 2 */
    V *missing, *known;
    V *share, *weight, *scale; /* of coarser grids; scale: missing / diagonal of the correction */
    V *value, *residual, *error, *spare;
    V *direction, *product;      /* of conjugate gradients, at the finest grid */
    V *inverse[2], *diagonal[2]; /* a line of the outer and the inner rows; see diagonals() */
    V *left, *right;             /* a line: weight of the nearer coarse column in interpolation */
    int *first, *end;            /* [h + 2] the blocks of a row with a missing pixel; none: 0, 0 */
} Grid;

#define LINE(g, field, i) ((field) + (ptrdiff_t)(i) * ((g)->n + 1))
#define ROW(g, field, i) ((field) + (ptrdiff_t)(i) * ((g)->n + 1) * COLOURS)
#define INNER(g, i) ((i) > 1 && (i) < (g)->h)
#define ACTIVE(g, i) for (int i = 1; i <= (g)->h; i++) if ((g)->end[i])
#define BLOCKS(g, i, b) for (int b = (g)->first[i]; b < (g)->end[i]; b++)
#define ZERO ((V){0})
#define EACH(k) for (int k = 0; k < COLOURS; k++)

/* statements for each block b of row i with a missing pixel, and each colour, `at` being its vector
 * and mean: the weighted sum of the neighbours of the pixels of x. */
#define FOLD(at) ((a_[at] + c_[at]) * (REAL)(1.0 / 12) + b_[at] * (REAL)(1.0 / 6))
#define MEANS(g, x, i, b, at, mean, ...) do { \
    const V *restrict a_ = ROW(g, x, (i) - 1), *restrict b_ = ROW(g, x, i); \
    const V *restrict c_ = ROW(g, x, (i) + 1); \
    V before_[COLOURS], here_[COLOURS]; \
    int first_ = (g)->first[i] * COLOURS; \
    EACH(k_) { \
        before_[k_] = first_ ? FOLD(first_ - COLOURS + k_) : ZERO; \
        here_[k_] = FOLD(first_ + k_); \
    } \
    BLOCKS(g, i, b) EACH(k_) { \
        int at = b * COLOURS + k_; \
        V after_ = b + 1 < (g)->n ? FOLD(at + COLOURS) : ZERO; \
        V mean = LEFT(before_[k_], here_[k_]) + RIGHT(here_[k_], after_) + 2 * here_[k_] \
               - b_[at] * (REAL)(1.0 / 3); \
        __VA_ARGS__ \
        before_[k_] = here_[k_], here_[k_] = after_; \
    } } while (0)

/* 1 / diagonal of row i, times missing at coarser grids. */
#define INVERSE(g, i) ((g)->scale ? LINE(g, (g)->scale, i) : (g)->inverse[INNER(g, i)])

/* out = missing / diagonal * (residual + mean of the neighbours); its product with q is added to
 * sum, where there is one. */
static void smooth_row(const Grid *g, const V *x, V *out, int i, const V *q, V *sum) {
    const V *restrict r = ROW(g, g->residual, i), *restrict m = LINE(g, g->missing, i);
    const V *restrict v = INVERSE(g, i);
    V *restrict o = ROW(g, out, i);
    if (g->scale) {
        MEANS(g, x, i, b, at, mean, { o[at] = v[b] * (r[at] + mean); });
    } else if (q) {
        V found = {0};
        q = ROW(g, q, i);
        MEANS(g, x, i, b, at, mean, {
            o[at] = m[b] * v[b] * (r[at] + mean);
            found += o[at] * q[at];
        });
        *sum += found;
    } else {
        MEANS(g, x, i, b, at, mean, { o[at] = m[b] * v[b] * (r[at] + mean); });
    }
}

/* x = (x, or the first sweep of Jacobi from zero) + missing * row i of the bilinear interpolation of
 * y (nearest beyond its edge). */
static inline void interpolate(const Grid *g, V *x, const V *y, int i, int sweep) {
    const Grid *c = g + 1;
    int near = (i + 1) / 2, far = i % 2 ? near - 1 : near + 1;
    far = far < 1 ? 1 : far > c->h ? c->h : far;
    const V *restrict n = ROW(c, y, near), *restrict f = ROW(c, y, far);
    const V *restrict m = LINE(g, g->missing, i), *restrict s = INVERSE(g, i);
    const V *restrict r = ROW(g, g->residual, i);
    V *restrict o = ROW(g, x, i), before[COLOURS], here[COLOURS];
#define START(b, at) (sweep ? r[at] * s[b] : o[at])
#define DOWN(at) (n[at] * (REAL)0.75 + f[at] * (REAL)0.25)
    int first = g->first[i] / 2, last = (g->end[i] - 1) / 2;
    EACH(k) {
        before[k] = first ? DOWN((first - 1) * COLOURS + k) : ZERO;
        here[k] = DOWN(first * COLOURS + k);
    }
    for (int b = first; b <= last; b++) EACH(k) {
        V after = b + 1 < c->n ? DOWN((b + 1) * COLOURS + k) : ZERO;
        V even = c->left[b] * here[k] + LEFT(before[k], here[k]) * (REAL)0.25;
        V odd = c->right[b] * here[k] + RIGHT(here[k], after) * (REAL)0.25;
        int low = 2 * b * COLOURS + k, high = low + COLOURS;
        if (2 * b >= g->first[i]) o[low] = START(2 * b, low) + m[2 * b] * LOW(even, odd);
        if (2 * b + 1 < g->end[i]) o[high] = START(2 * b + 1, high) + m[2 * b + 1] * HIGH(even, odd);
        before[k] = here[k], here[k] = after;
    }
}

/* Sums over 2x2 cells of block b of row i of the coarser grid, from rows a and c; every `step`-th
 * vector is one of this colour. */
static inline V cells(const V *a, const V *c, int b, int step) {
    int at = 2 * b * step;
    V low = a[at] + c[at], high = a[at + step] + c[at + step];
    return EVEN(low, high) + ODD(low, high);
}

/* The residual that the first sweep of Jacobi from zero leaves, summed over cells, where a cell is
 * missing: rows 2i - 1 and 2i of the grid to row i of the next. The sweep itself is not stored. */
static void restrict_row(Grid *g, int i) {
    const Grid *n = g + 1;
    V *restrict o = ROW(n, n->residual, i), before[COLOURS], inside[COLOURS], here[COLOURS];
    const V *restrict m = LINE(n, n->missing, i), *restrict r = g->residual;
    const V *a = ROW(g, r, 2 * i - 2), *d = ROW(g, r, 2 * i - 1);
    const V *f = ROW(g, r, 2 * i), *h = ROW(g, r, 2 * i + 1);
    const V *s = INVERSE(g, 2 * i - 2), *t = INVERSE(g, 2 * i - 1);
    const V *u = INVERSE(g, 2 * i), *v = INVERSE(g, 2 * i + 1);
    /* Two rows of the stencil at once: [1 3 3 1] down the columns. */
#define INSIDE(b, at) (d[at] * t[b] + f[at] * u[b])
#define FOUR(b, at, inside) ((a[at] * s[b] + h[at] * v[b] + 3 * (inside)) * (REAL)(1.0 / 12))
    int first = 2 * n->first[i];
    EACH(k) {
        int at = first * COLOURS + k;
        before[k] = first ? FOUR(first - 1, at - COLOURS, INSIDE(first - 1, at - COLOURS)) : ZERO;
        inside[k] = INSIDE(first, at);
        here[k] = FOUR(first, at, inside[k]);
    }
    BLOCKS(n, i, b) EACH(k) {
        int low = 2 * b * COLOURS + k, high = low + COLOURS;
        V inner = ZERO, next = ZERO, beyond = ZERO, after = ZERO, right = ZERO;
        if (2 * b + 1 < g->n) inner = INSIDE(2 * b + 1, high), next = FOUR(2 * b + 1, high, inner);
        if (2 * b + 2 < g->n) {
            beyond = INSIDE(2 * b + 2, high + COLOURS);
            after = FOUR(2 * b + 2, high + COLOURS, beyond);
        }
        V left = LEFT(before[k], here[k]) + RIGHT(here[k], next) + 2 * here[k]
               - inside[k] * (REAL)(1.0 / 3);
        if (2 * b + 1 < g->n)
            right = LEFT(here[k], next) + RIGHT(next, after) + 2 * next - inner * (REAL)(1.0 / 3);
        o[b * COLOURS + k] = m[b] * g->lift * (EVEN(left, right) + ODD(left, right));
        before[k] = next, inside[k] = beyond, here[k] = after;
    }
}

static void swap(Grid *g) { V *kept = g->error; g->error = g->spare; g->spare = kept; }

/* Row i of the solution and its residual take a step along the direction. */
static void advance(Grid *g, REAL step, int i) {
    V *restrict x = ROW(g, g->value, i), *restrict r = ROW(g, g->residual, i);
    const V *restrict y = ROW(g, g->direction, i), *restrict o = ROW(g, g->product, i);
    for (int at = g->first[i] * COLOURS; at < g->end[i] * COLOURS; at++)
        x[at] += step * y[at], r[at] -= step * o[at];
}

/* One V-cycle from zero: error is about the one whose residual is given, after a step of conjugate
 * gradients where there is one. Returns its product with q. */
static REAL cycle(Grid *finest, int levels, REAL step, const V *q) {
    Grid *last = finest + levels - 1;
    V sum = {0};
    for (Grid *g = finest; g < last; g++) {
        for (int i = 1, done = 0; i <= g[1].h; i++) {
            /* Rows are read while they are still near. */
            if (g == finest && step != 0) while (done < 2 * i + 1 && done < g->h) advance(g, step, ++done);
            if (g[1].end[i]) restrict_row(g, i);
        }
    }
    ACTIVE(last, i) {
        const V *restrict r = ROW(last, last->residual, i), *restrict s = INVERSE(last, i);
        V *restrict e = ROW(last, last->error, i);
        BLOCKS(last, i, b) EACH(k) e[b * COLOURS + k] = r[b * COLOURS + k] * s[b];
    }
    for (int k = 1; k <= SWEEPS; k++) {
        ACTIVE(last, i) smooth_row(last, last->error, last->spare, i, NULL, NULL);
        swap(last);
    }
    for (Grid *g = last - 1; g >= finest; g--) {
        for (int i = 1; i <= g->h + 1; i++) {
            if (i <= g->h && g->end[i]) interpolate(g, g->error, g[1].error, i, 1);
            if (g->end[i - 1]) smooth_row(g, g->error, g->spare, i - 1, g == finest ? q : NULL, &sum);
        }
        swap(g);
    }
    return total(sum);
}

/* residual = missing * (mean of the neighbours - diagonal * value) */
static void defect(Grid *g) {
    ACTIVE(g, i) {
        const V *restrict m = LINE(g, g->missing, i), *restrict x = ROW(g, g->value, i);
        const V *restrict d = g->diagonal[INNER(g, i)];
        V *restrict r = ROW(g, g->residual, i);
        MEANS(g, g->value, i, b, at, mean, { r[at] = m[b] * (mean - d[b] * x[at]); });
    }
}

/* Column j of a row of one colour. */
#define VALUE(row, j, k) (((REAL *)((row) + ((j) / W) * COLOURS + (k)))[(j) % W])
#define MASK(line, j) (((REAL *)(line))[j])

/* value holds the known pixels of the finest grid and becomes the guess: holes are filled from ever
 * coarser averages of the known, and one cycle on each coarser grid improves what is handed on. */
static void first_guess(Grid *g, int levels) {
    for (int l = 1; l < levels; l++) for (int i = 1; i <= g[l].h; i++) {
        const V *a = ROW(g + l - 1, g[l - 1].value, 2 * i - 1);
        const V *c = ROW(g + l - 1, g[l - 1].value, 2 * i);
        const V *restrict s = LINE(g + l, g[l].share, i);
        V *restrict x = ROW(g + l, g[l].value, i);
        for (int b = 0; b < g[l].n; b++) EACH(k)
            x[b * COLOURS + k] = cells(a + k, c + k, b, COLOURS) * s[b];
    }
    Grid *last = g + levels - 1;
    EACH(k) {
        REAL sum = 0, count = 0;
        for (int turn = 0; turn < 2; turn++) for (int i = 1; i <= last->h; i++) {
            V *x = ROW(last, last->value, i), *m = LINE(last, last->missing, i);
            for (int j = 0; j < last->w; j++) {
                if (turn) VALUE(x, j, k) += MASK(m, j) * sum / count;
                else sum += VALUE(x, j, k), count += 1 - MASK(m, j);
            }
        }
    }
    for (Grid *c = last; c >= g; c--) {
        if (c < last) ACTIVE(c, i) interpolate(c, c->value, c[1].value, i, 0);
        if (c == g) break;
        defect(c);
        cycle(c, (int)(last - c) + 1, 0, NULL);
        ACTIVE(c, i) {
            V *restrict x = ROW(c, c->value, i), *restrict e = ROW(c, c->error, i);
            for (int at = c->first[i] * COLOURS; at < c->end[i] * COLOURS; at++) x[at] += e[at];
        }
    }
}

/* The first block of a row with a missing pixel, and the end; working fields are emptied where they
 * were missing before and are not now. */
static void bound(Grid *g, int i, int finest) {
    const V *m = LINE(g, g->missing, i);
    int first = 0, end = g->n, from = g->first[i], to = g->end[i];
    while (end && !(total(m[end - 1]) > 0)) end--;
    while (first < end && !(total(m[first]) > 0)) first++;
    g->first[i] = first, g->end[i] = end;
    V *fields[] = {g->residual, g->error, g->spare, g->direction, g->product};
    for (int b = from; b < to; b++) if (b < first || b >= end)
        for (int k = 0; k < (finest ? 5 : 3); k++)
            memset(ROW(g, fields[k], i) + b * COLOURS, 0, sizeof(V) * COLOURS);
}

/* From `known` of the finest grid: a coarse cell is missing where all its fine ones are; share is
 * 1 / the number of known ones. The zero of an error lies nearer to a missing cell the more of the
 * cell beside it is known, which weighs so much more in its diagonal (what these weights do to
 * convergence was measured, they change no solution). */
static void hierarchy(Grid *g, int levels) {
    for (int l = 0; l < levels; l++) {
        Grid *c = g + l;
        const V *restrict v = c->inverse[0]; /* zero in the padding */
        for (int i = 1; i <= c->h; i++) {
            V *restrict known = LINE(c, c->known, i), *restrict m = LINE(c, c->missing, i);
            if (l) {
                const V *a = LINE(c - 1, c[-1].known, 2 * i - 1), *d = LINE(c - 1, c[-1].known, 2 * i);
                V *restrict s = LINE(c, c->share, i), *restrict x = LINE(c, c->weight, i);
                REAL near = c[-1].lift * NEAR;
                for (int b = 0; b < c->n; b++) {
                    V count = cells(a, d, b, 1), some = __builtin_convertvector(-(count > 0), V);
                    known[b] = some;
                    x[b] = __builtin_convertvector(-(v[b] > 0), V)
                         * (1 + some * (count * near + FAR - 1));
                    s[b] = 1 / (count + (1 - some));
                }
            }
            for (int b = 0; b < c->n; b++)
                m[b] = __builtin_convertvector(-(v[b] > 0), V) * (1 - known[b]);
            bound(c, i, !l);
        }
        if (l) ACTIVE(c, i) {
            const V *restrict a = LINE(c, c->weight, i - 1), *restrict x = LINE(c, c->weight, i);
            const V *restrict d = LINE(c, c->weight, i + 1), *restrict m = LINE(c, c->missing, i);
            V *restrict o = LINE(c, c->scale, i);
#define SUM(b) ((a[b] + d[b]) * (REAL)(1.0 / 12) + x[b] * (REAL)(1.0 / 6))
            for (int b = 0; b < c->n; b++) {
                V here = SUM(b), mean = LEFT(SUM(b - 1), here) + RIGHT(here, SUM(b + 1)) + 2 * here
                                      - x[b] * (REAL)(1.0 / 3);
                /* 1 - m keeps the divisor from 0 in the padding. */
                o[b] = m[b] / (m[b] * mean + (1 - m[b]));
            }
        }
    }
}

/* Conjugate gradients preconditioned by a cycle, from value to the solution. Returns whether all
 * stayed finite. */
static int solve(Grid *g, int levels, double tolerance, double least, double most, int cycles) {
    V *p = g->direction, *q = NULL;
    first_guess(g, levels);
    defect(g);
    double energy = 1, change = 0;
    REAL step = 0;
    while (cycles--) {
        /* The new direction is made conjugate to the last one, whatever the rounding. What the
         * system makes of it follows by the same sum. */
        REAL overlap = (REAL)(cycle(g, levels, step, q) / energy);
        V push = {0}, pull = {0};
        ACTIVE(g, i) {
            const V *restrict m = LINE(g, g->missing, i), *restrict r = ROW(g, g->residual, i);
            const V *restrict d = g->diagonal[INNER(g, i)], *restrict z = ROW(g, g->error, i);
            V *restrict y = ROW(g, p, i), *restrict o = ROW(g, g->product, i);
            if (q) MEANS(g, g->error, i, b, at, mean, {
                V along = z[at] - overlap * y[at];
                V made = m[b] * (d[b] * z[at] - mean) - overlap * o[at];
                push += made * along;
                pull += r[at] * along;
                y[at] = along;
                o[at] = made;
            });
            else MEANS(g, g->error, i, b, at, mean, {
                o[at] = m[b] * (d[b] * z[at] - mean);
                push += o[at] * z[at];
                pull += r[at] * z[at];
                y[at] = z[at];
            });
        }
        q = g->product;
        energy = total(push);
        double gain = total(pull);
        if (!isfinite(energy) || !isfinite(gain)) return 0;
        if (!(energy > 0)) return 1; /* nothing is missing, or the solution is exact */
        step = (REAL)(gain / energy);
        double before = change, square = gain * step / COLOURS;
        change = square > 0 ? sqrt(square) : 0;
        double ratio = change < most * before ? change / before : most;
        if (ratio < least) ratio = least;
        if (!(change * ratio / (1 - ratio) > tolerance)) break;
    }
    ACTIVE(g, i) advance(g, step, i);
    return 1;
}

/* The sums of the weights of the neighbours inside, and 1 / them: zero in the padding. */
static void diagonals(Grid *g) {
    for (int j = 0; j < g->w; j++) {
        int x = (j > 0) + (j < g->w - 1);
        for (int inner = 0; inner < 2; inner++) {
            int y = g->h > 1 ? 1 + inner : 0, sum = 2 * (x + y) + x * y;
            MASK(g->diagonal[inner], j) = (REAL)(sum / 12.0);
            MASK(g->inverse[inner], j) = (REAL)(12.0 / (sum ? sum : 1)); /* one cell: no sum */
        }
        MASK(g->left, j) = j ? (REAL)0.75 : 1;
        MASK(g->right, j) = j < g->w - 1 ? (REAL)0.75 : 1;
    }
}

static int half(int x) { return (x + 1) / 2; }

/* W values from any place, and the integers of as many bytes. */
static inline V load(const REAL *from) { V out; memcpy(&out, from, sizeof out); return out; }
static inline void store(REAL *to, V x) { memcpy(to, &x, sizeof x); }
static inline I load_bytes(const uint8_t *from) {
    B out;
    memcpy(&out, from, sizeof out);
    return __builtin_convertvector(out, I);
}
static inline V choose(I which, V yes, V no) { return (V)((which & (I)yes) | (~which & (I)no)); }

/* Known pixels of one image into the grid. Returns whether there are any. */
static int put(Grid *g, const REAL *image, const uint8_t *removed) {
    size_t pixels = (size_t)g->h * g->w;
    int known = 0, whole = g->w / W;
    V some = {0}, none = {0};
    for (int i = 1; i <= g->h; i++) {
        const uint8_t *restrict gone = removed + (size_t)(i - 1) * g->w;
        const REAL *restrict from = image + (size_t)(i - 1) * g->w;
        V *restrict x = ROW(g, g->value, i), *restrict here = LINE(g, g->known, i);
        for (int b = 0; b < whole; b++) {
            I stays = load_bytes(gone + b * W) == 0;
            here[b] = __builtin_convertvector(-stays, V);
            some += here[b];
            EACH(k) x[b * COLOURS + k] = choose(stays, load(from + k * pixels + b * W), none);
        }
        for (int j = whole * W; j < g->w; j++) {
            known |= !gone[j];
            MASK(here, j) = !gone[j];
            EACH(k) VALUE(x, j, k) = gone[j] ? 0 : from[k * pixels + j];
        }
    }
    return known || total(some) > 0;
}

/* Vector o of three colours' pixels side by side; which of pixel p is at (o * W + k) / 3. */
#define PIXEL(o) ((iota() + (o) * W) / 3)
#define COLOUR(o) ((iota() + (o) * W) % 3)
#define BESIDE(o, a, b, c) \
    shuffle(shuffle(a, b, PIXEL(o) + (COLOUR(o) == 1) * -W), c, \
            (COLOUR(o) == 2) * -(PIXEL(o) + W) + (COLOUR(o) != 2) * -iota())

/* The known pixels as they are, the others from the grid, with noise where it is given; filled has
 * `depth` colours a pixel, side by side. */
static void get(const Grid *g, const REAL *image, const uint8_t *removed, const REAL *noise,
                REAL *filled, int depth) {
    size_t pixels = (size_t)g->h * g->w;
    int whole = COLOURS == 3 && depth == 3 ? g->w / W : 0;
    for (int i = 1; i <= g->h; i++) {
        size_t row = (size_t)(i - 1) * g->w;
        const uint8_t *restrict gone = removed + row;
        const V *value = ROW(g, g->value, i);
        REAL *restrict to = filled + row * depth;
        for (int b = 0; b < whole; b++) {
            I lost = load_bytes(gone + b * W) != 0;
            V c[3] = {{0}};
            EACH(k) {
                size_t at = k * pixels + row + b * W;
                V x = value[b * COLOURS + k];
                if (noise) x += load(noise + at);
                c[k] = choose(lost, x, load(image + at));
            }
            for (int o = 0; o < 3; o++) store(to + (3 * b + o) * W, BESIDE(o, c[0], c[1], c[2]));
        }
        EACH(k) {
            const REAL *restrict from = image + k * pixels + row;
            const REAL *restrict more = noise + (noise ? k * pixels + row : 0);
            for (int j = whole * W; j < g->w; j++) {
                REAL filler = VALUE(value, j, k);
                if (noise) filler += more[j];
                to[j * depth + k] = gone[j] ? filler : from[j];
            }
        }
    }
}

/* Sizes of the grids; their places too where memory is given. Returns the vectors needed. */
static size_t lay_out(Grid *g, int h, int w, V *memory, int *spans, int *levels) {
    int rows = h, columns = w;
    for (*levels = 1;; ++*levels) {
        int least = rows < columns ? rows : columns, most = rows < columns ? columns : rows;
        if (least <= COARSEST && most <= LONGEST && *levels > 1) break;
        rows = half(rows), columns = half(columns);
    }
    size_t vectors = 0;
    rows = h, columns = w;
    for (Grid *c = g; c < g + *levels; c++, rows = half(rows), columns = half(columns)) {
        c->lift = rows == 1 || columns == 1 ? 2 : 1;
        c->h = rows, c->w = columns, c->n = (columns + W - 1) / W;
        V **masks[] = {&c->missing, &c->known, &c->share, &c->weight, &c->scale};
        V **values[] = {&c->value, &c->residual, &c->error, &c->spare, &c->direction, &c->product};
        V **lines[] = {c->inverse, c->inverse + 1, c->diagonal, c->diagonal + 1, &c->left, &c->right};
        size_t size = (size_t)(rows + 3) * (c->n + 1) + 2;
        c->scale = NULL;
        for (int k = 0; k < (c == g ? 2 : 5); k++, vectors += size) *masks[k] = memory + vectors + 1;
        for (int k = 0; k < (c == g ? 6 : 4); k++, vectors += size * COLOURS)
            *values[k] = memory + vectors + COLOURS;
        for (int k = 0; k < 6; k++, vectors += c->n + 3) *lines[k] = memory + vectors + 1;
        c->first = spans, c->end = spans + rows + 2, spans += 2 * (rows + 2);
    }
    return vectors;
}

#define NO_MEMORY (-1)

/* images: [any, colours, h, w], of which mask m takes row rows[m]; noise, or NULL: likewise; removed:
 * [count, h, w]; filled: [count, h, w, colours], colours being a multiple of COLOURS. Returns count,
 * or the place of the first mask that leaves no known pixel, or NO_MEMORY. */
int impute(const REAL *images, const uint8_t *removed, const REAL *noise, const int64_t *rows,
           REAL *filled, int count, int colours, int h, int w, double tolerance, double least,
           double most, int cycles, int threads) {
    int sound = count;
    size_t pixels = (size_t)h * w, size = pixels * colours;
    (void)threads; /* without OpenMP */
#pragma omp parallel num_threads(threads) reduction(min : sound)
    {
        Grid g[32];
        int levels, mine = count;
        size_t vectors = lay_out(g, h, w, NULL, NULL, &levels), bytes = sizeof(V) * vectors;
        V *memory = aligned_alloc(BYTES, bytes);
        int *spans = calloc((size_t)4 * h + 512, sizeof(int));
        int fresh = 0;
        if (!memory || !spans) mine = NO_MEMORY;
#pragma omp for schedule(dynamic)
        for (int m = 0; m < count; m++) {
            for (int k = 0; k < colours && mine == count; k += COLOURS) {
                if (!fresh) {
                    memset(memory, 0, bytes);
                    lay_out(g, h, w, memory, spans, &levels);
                    for (int l = 0; l < levels; l++) diagonals(g + l);
                }
                const uint8_t *gone = removed + m * pixels;
                size_t at = rows[m] * size + k * pixels;
                const REAL *more = noise ? noise + at : NULL;
                if (!put(g, images + at, gone)) { mine = m; break; }
                if (!k || !fresh) hierarchy(g, levels);
                /* What is not finite would stay in the padding. */
                fresh = solve(g, levels, tolerance, least, most, cycles);
                get(g, images + at, gone, more, filled + m * size + k, colours);
            }
        }
        sound = mine;
        free(memory);
        free(spans);
    }
    return sound;
}

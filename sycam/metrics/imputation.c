/* The compiled engine of sycam/metrics/imputation.py: the same algorithm, one image at a time, so
 * that it never leaves the cache. Compiled once for float and once for double (REAL).
 *
 * Colours share the mask, so they lie side by side as one wide grid: a row is `colours` segments,
 * the last columns of each being padding that is never missing, so that zeros stay there and every
 * loop runs over whole vectors. A segment of a coarser grid is half as wide: columns 2j and 2j + 1
 * make column j. Rows without a missing pixel keep zeros and are skipped. Neighbours along a row
 * come from shuffled registers: unaligned loads of what was just stored would wait for it. */
#include <math.h>
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
#define CACHE 1000000 /* bytes of the finest grid beyond which colours are solved one by one */

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

/* Fields have rows 0 to h + 2 of n vectors; those outside 1 to h are zero. */
typedef struct {
    int h, w, segment, n;
    REAL lift; /* of what two cells of a line hand to the coarser grid, where others have four: 2 */
    V *missing, *known, *share, *value, *residual, *error, *spare;
    V *direction, *product;      /* of conjugate gradients, at the finest grid */
    V *scale;                    /* missing / diagonal of the correction, at coarser grids */
    V *inverse[2], *diagonal[2]; /* [n] of the outer and the inner rows; see diagonals() */
    V *left, *right;             /* [n] weight of the nearer coarse column in interpolation */
    uint8_t *active;             /* [h + 2] whether a pixel of the row is missing */
} Grid;

#define ROW(g, field, i) ((field) + (size_t)(i) * (g)->n)
#define INNER(g, i) ((i) > 1 && (i) < (g)->h)
#define ACTIVE(g, i) for (int i = 1; i <= (g)->h; i++) if ((g)->active[i])

/* statements for each vector b of row i of x, with mean: the weighted sum of the pixels' neighbours. */
#define FOLD(b) ((a_[b] + c_[b]) * (REAL)(1.0 / 12) + b_[b] * (REAL)(1.0 / 6))
#define MEANS(g, x, i, mean, ...) do { \
    const V *restrict a_ = ROW(g, x, (i) - 1), *restrict b_ = ROW(g, x, i); \
    const V *restrict c_ = ROW(g, x, (i) + 1); \
    V before_ = {0}, here_ = FOLD(0); \
    for (int b = 0; b < (g)->n; b++) { \
        V after_ = b + 1 < (g)->n ? FOLD(b + 1) : (V){0}; \
        V mean = LEFT(before_, here_) + RIGHT(here_, after_) + 2 * here_ - b_[b] * (REAL)(1.0 / 3); \
        __VA_ARGS__ \
        before_ = here_, here_ = after_; \
    } } while (0)

/* out = missing / diagonal * (residual + mean of the neighbours); returns its product with q */
static V smooth_row(const Grid *g, const V *x, V *out, int i, const V *q) {
    const V *restrict r = ROW(g, g->residual, i), *restrict m = ROW(g, g->missing, i);
    const V *restrict v = g->inverse[INNER(g, i)];
    V *restrict o = ROW(g, out, i), sum = {0};
    if (g->scale) {
        v = ROW(g, g->scale, i);
        MEANS(g, x, i, mean, { o[b] = v[b] * (r[b] + mean); });
    } else if (q) {
        q = ROW(g, q, i);
        MEANS(g, x, i, mean, { o[b] = m[b] * v[b] * (r[b] + mean); sum += o[b] * q[b]; });
    } else {
        MEANS(g, x, i, mean, { o[b] = m[b] * v[b] * (r[b] + mean); });
    }
    return sum;
}

/* 1 / diagonal of row i, times missing at coarser grids. */
#define WEIGHT(g, i) ((g)->scale ? ROW(g, (g)->scale, i) : (g)->inverse[INNER(g, i)])

/* x = (x, or the first sweep of Jacobi from zero) + missing * row i of the bilinear interpolation of
 * y (nearest beyond its edge). */
static inline void interpolate(const Grid *g, V *x, const V *y, int i, int sweep) {
    const Grid *c = g + 1;
    int near = (i + 1) / 2, far = i % 2 ? near - 1 : near + 1;
    far = far < 1 ? 1 : far > c->h ? c->h : far;
    const V *restrict a = ROW(c, y, near), *restrict f = ROW(c, y, far);
    const V *restrict m = ROW(g, g->missing, i), *restrict s = WEIGHT(g, i);
    const V *restrict r = ROW(g, g->residual, i);
    V *restrict o = ROW(g, x, i);
#define START(b) (sweep ? r[b] * s[b] : o[b])
#define DOWN(b) (a[b] * (REAL)0.75 + f[b] * (REAL)0.25)
    V before = {0}, here = DOWN(0);
    for (int b = 0; b < c->n; b++) {
        V after = b + 1 < c->n ? DOWN(b + 1) : (V){0};
        V even = c->left[b] * here + LEFT(before, here) * (REAL)0.25;
        V odd = c->right[b] * here + RIGHT(here, after) * (REAL)0.25;
        o[2 * b] = START(2 * b) + m[2 * b] * LOW(even, odd);
        if (2 * b + 1 < g->n) o[2 * b + 1] = START(2 * b + 1) + m[2 * b + 1] * HIGH(even, odd);
        before = here, here = after;
    }
}

/* Sums over 2x2 cells: row i of the coarser field out. */
static void sum_cells(const Grid *g, const V *x, V *out, int i) {
    const V *restrict a = ROW(g, x, 2 * i - 1), *restrict c = ROW(g, x, 2 * i);
    V *restrict o = ROW(g + 1, out, i);
    for (int b = 0; b < g[1].n; b++) {
        V low = a[2 * b] + c[2 * b], high = {0};
        if (2 * b + 1 < g->n) high = a[2 * b + 1] + c[2 * b + 1];
        o[b] = EVEN(low, high) + ODD(low, high);
    }
}

/* The residual that the first sweep of Jacobi from zero leaves, summed over cells, where a cell is
 * missing: rows 2i - 1 and 2i of the grid to row i of the next. The sweep itself is not stored. */
static void restrict_row(Grid *g, int i) {
    V *restrict o = ROW(g + 1, g[1].residual, i), low = {0};
    const V *restrict m = ROW(g + 1, g[1].missing, i), *restrict r = g->residual;
    const V *a = ROW(g, r, 2 * i - 2), *d = ROW(g, r, 2 * i - 1);
    const V *f = ROW(g, r, 2 * i), *h = ROW(g, r, 2 * i + 1);
    const V *s = WEIGHT(g, 2 * i - 2), *t = WEIGHT(g, 2 * i - 1);
    const V *u = WEIGHT(g, 2 * i), *v = WEIGHT(g, 2 * i + 1);
    /* Two rows of the stencil at once: [1 3 3 1] down the columns. */
#define INSIDE(b) (d[b] * t[b] + f[b] * u[b])
#define FOUR(b, inside) ((a[b] * s[b] + h[b] * v[b] + 3 * inside) * (REAL)(1.0 / 12))
    V before = {0}, inside = INSIDE(0), here = FOUR(0, inside);
    for (int b = 0; b < g->n; b++) {
        V next = {0}, after = {0};
        if (b + 1 < g->n) next = INSIDE(b + 1), after = FOUR(b + 1, next);
        V mean = LEFT(before, here) + RIGHT(here, after) + 2 * here - inside * (REAL)(1.0 / 3);
        if (b % 2 == 0) low = mean;
        else o[b / 2] = m[b / 2] * g->lift * (EVEN(low, mean) + ODD(low, mean));
        before = here, here = after, inside = next;
    }
    if (g->n % 2) { V none = {0}; o[g->n / 2] = m[g->n / 2] * g->lift * (EVEN(low, none) + ODD(low, none)); }
}

static void swap(Grid *g) { V *kept = g->error; g->error = g->spare; g->spare = kept; }

/* Row i of the solution and its residual take a step along the direction. */
static void advance(Grid *g, REAL step, int i) {
    if (!g->active[i]) return;
    V *restrict x = ROW(g, g->value, i), *restrict r = ROW(g, g->residual, i);
    const V *restrict y = ROW(g, g->direction, i), *restrict o = ROW(g, g->product, i);
    for (int b = 0; b < g->n; b++) x[b] += step * y[b], r[b] -= step * o[b];
}

/* One V-cycle from zero: error is about the one whose residual is given, after a step of conjugate
 * gradients where there is one. Returns its product with q. */
static REAL cycle(Grid *g, int levels, REAL step, const V *q) {
    V sum = {0};
    if (levels > 1) {
        for (int i = 1, done = 0; i <= g[1].h; i++) {
            /* Rows are read while they are still near. */
            if (step != 0) while (done < 2 * i + 1 && done < g->h) advance(g, step, ++done);
            if (g[1].active[i]) restrict_row(g, i);
        }
        cycle(g + 1, levels - 1, 0, NULL);
        for (int i = 1; i <= g->h + 1; i++) {
            if (i <= g->h && g->active[i]) interpolate(g, g->error, g[1].error, i, 1);
            if (g->active[i - 1]) sum += smooth_row(g, g->error, g->spare, i - 1, q);
        }
        swap(g);
    } else {
        ACTIVE(g, i) {
            const V *restrict r = ROW(g, g->residual, i), *restrict s = WEIGHT(g, i);
            V *restrict e = ROW(g, g->error, i);
            for (int b = 0; b < g->n; b++) e[b] = r[b] * s[b];
        }
        for (int k = 1; k <= SWEEPS; k++) {
            ACTIVE(g, i) smooth_row(g, g->error, g->spare, i, NULL);
            swap(g);
        }
    }
    return total(sum);
}

/* residual = missing * (mean of the neighbours - diagonal * value) */
static void defect(Grid *g) {
    ACTIVE(g, i) {
        const V *restrict m = ROW(g, g->missing, i), *restrict x = ROW(g, g->value, i);
        const V *restrict d = g->diagonal[INNER(g, i)];
        V *restrict r = ROW(g, g->residual, i);
        MEANS(g, g->value, i, mean, { r[b] = m[b] * (mean - d[b] * x[b]); });
    }
}

/* value holds the known pixels of the finest grid and becomes the guess: holes are filled from ever
 * coarser averages of the known, and one cycle on each coarser grid improves what is handed on. */
static void first_guess(Grid *g, int levels, int colours) {
    for (int l = 1; l < levels; l++) for (int i = 1; i <= g[l].h; i++) {
        sum_cells(g + l - 1, g[l - 1].value, g[l].value, i);
        V *restrict x = ROW(g + l, g[l].value, i), *restrict s = ROW(g + l, g[l].share, i);
        for (int b = 0; b < g[l].n; b++) x[b] *= s[b];
    }
    Grid *last = g + levels - 1;
    for (int k = 0; k < colours; k++) {
        REAL sum = 0, count = 0;
        for (int turn = 0; turn < 2; turn++) for (int i = 1; i <= last->h; i++) {
            REAL *x = (REAL *)ROW(last, last->value, i) + (size_t)k * last->segment;
            REAL *m = (REAL *)ROW(last, last->missing, i) + (size_t)k * last->segment;
            for (int j = 0; j < last->w; j++) {
                if (turn) x[j] += m[j] * sum / count;
                else sum += x[j], count += 1 - m[j];
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
            for (int b = 0; b < c->n; b++) x[b] += e[b];
        }
    }
}

/* From `known` of the finest grid: a coarse cell is missing where all its fine ones are; share is
 * 1 / the number of known ones. The zero of an error lies nearer to a missing cell the more of the
 * cell beside it is known, which weighs so much more in its diagonal (`value` holds these weights
 * for a moment; what they do to convergence was measured, they change no solution). Working fields
 * are emptied in rows that were missing before. */
static void hierarchy(Grid *g, int levels) {
    for (int l = 0; l < levels; l++) {
        Grid *c = g + l;
        for (int i = 1; i <= c->h; i++) {
            V *restrict known = ROW(c, c->known, i), *restrict m = ROW(c, c->missing, i), any = {0};
            const V *restrict v = c->inverse[0];
            REAL near = l ? c[-1].lift * NEAR : NEAR;
            if (l) {
                sum_cells(c - 1, c[-1].known, c->share, i);
                V *restrict s = ROW(c, c->share, i), *restrict x = ROW(c, c->value, i);
                for (int b = 0; b < c->n; b++) {
                    V some = __builtin_convertvector(-(s[b] > 0), V);
                    known[b] = some;
                    x[b] = __builtin_convertvector(-(v[b] > 0), V)
                         * (1 + some * (s[b] * near + FAR - 1));
                    s[b] = 1 / (s[b] + (1 - some));
                }
            }
            for (int b = 0; b < c->n; b++) {
                /* inverse is zero in the padding */
                m[b] = __builtin_convertvector(-(v[b] > 0), V) * (1 - known[b]);
                any += m[b];
            }
            int was = c->active[i];
            c->active[i] = total(any) > 0;
            if (!was || c->active[i]) continue;
            V *fields[] = {c->residual, c->error, c->spare, c->direction, c->product};
            for (int k = 0; k < (l ? 3 : 5); k++) memset(ROW(c, fields[k], i), 0, sizeof(V) * c->n);
        }
        if (l) ACTIVE(c, i) {
            const V *restrict m = ROW(c, c->missing, i);
            V *restrict o = ROW(c, c->scale, i);
            /* 1 - m keeps the divisor from 0 in the padding. */
            MEANS(c, c->value, i, mean, { o[b] = m[b] / (m[b] * mean + (1 - m[b])); });
        }
    }
}

/* Conjugate gradients preconditioned by a cycle, from value to the solution. Returns whether all
 * stayed finite. */
static int solve(Grid *g, int levels, int colours,
                 double tolerance, double least, double most, int cycles) {
    V *p = g->direction, *q = NULL;
    first_guess(g, levels, colours);
    defect(g);
    double energy = 1, change = 0;
    REAL step = 0;
    while (cycles--) {
        /* The new direction is made conjugate to the last one, whatever the rounding. What the
         * system makes of it follows by the same sum. */
        REAL overlap = (REAL)(cycle(g, levels, step, q) / energy);
        V push = {0}, pull = {0};
        ACTIVE(g, i) {
            const V *restrict m = ROW(g, g->missing, i), *restrict r = ROW(g, g->residual, i);
            const V *restrict d = g->diagonal[INNER(g, i)], *restrict z = ROW(g, g->error, i);
            V *restrict y = ROW(g, p, i), *restrict o = ROW(g, g->product, i);
            if (q) MEANS(g, g->error, i, mean, {
                V along = z[b] - overlap * y[b];
                V made = m[b] * (d[b] * z[b] - mean) - overlap * o[b];
                push += made * along;
                pull += r[b] * along;
                y[b] = along;
                o[b] = made;
            });
            else MEANS(g, g->error, i, mean, {
                o[b] = m[b] * (d[b] * z[b] - mean);
                push += o[b] * z[b];
                pull += r[b] * z[b];
                y[b] = z[b];
            });
        }
        q = g->product;
        energy = total(push);
        double gain = total(pull);
        if (!isfinite(energy) || !isfinite(gain)) return 0;
        if (!(energy > 0)) return 1; /* nothing is missing, or the solution is exact */
        step = (REAL)(gain / energy);
        double before = change, square = gain * step / colours;
        change = square > 0 ? sqrt(square) : 0;
        double ratio = change < most * before ? change / before : most;
        if (ratio < least) ratio = least;
        if (!(change * ratio / (1 - ratio) > tolerance)) break;
    }
    ACTIVE(g, i) advance(g, step, i);
    return 1;
}

/* The sums of the weights of the neighbours inside, and 1 / them: zero in the padding. */
static void diagonals(Grid *g, int colours) {
    for (int k = 0; k < colours; k++) for (int j = 0; j < g->w; j++) {
        int at = k * g->segment + j, x = (j > 0) + (j < g->w - 1);
        for (int inner = 0; inner < 2; inner++) {
            int y = g->h > 1 ? 1 + inner : 0, sum = 2 * (x + y) + x * y;
            ((REAL *)g->diagonal[inner])[at] = (REAL)(sum / 12.0);
            ((REAL *)g->inverse[inner])[at] = (REAL)(12.0 / (sum ? sum : 1)); /* one cell: no sum */
        }
        ((REAL *)g->left)[at] = j ? (REAL)0.75 : 1;
        ((REAL *)g->right)[at] = j < g->w - 1 ? (REAL)0.75 : 1;
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
static int put(Grid *g, const REAL *image, const uint8_t *removed, int colours) {
    size_t pixels = (size_t)g->h * g->w;
    int known = 0, whole = g->w / W * W;
    V some = {0};
    for (int i = 1; i <= g->h; i++) {
        const uint8_t *restrict gone = removed + (size_t)(i - 1) * g->w;
        const REAL *restrict from = image + (size_t)(i - 1) * g->w;
        REAL *restrict x = (REAL *)ROW(g, g->value, i), *restrict here = (REAL *)ROW(g, g->known, i);
        for (int j = 0; j < whole; j += W) {
            I stays = load_bytes(gone + j) == 0;
            V one = __builtin_convertvector(-stays, V), none = {0};
            some += one;
            for (int k = 0; k < colours; k++) {
                store(here + k * g->segment + j, one);
                store(x + k * g->segment + j, choose(stays, load(from + k * pixels + j), none));
            }
        }
        for (int j = whole; j < g->w; j++) {
            known |= !gone[j];
            for (int k = 0; k < colours; k++) {
                here[k * g->segment + j] = !gone[j];
                x[k * g->segment + j] = gone[j] ? 0 : from[k * pixels + j];
            }
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
                REAL *filled, int colours, int depth) {
    size_t pixels = (size_t)g->h * g->w;
    int whole = colours == 3 ? g->w / W * W : 0;
    for (int i = 1; i <= g->h; i++) {
        size_t row = (size_t)(i - 1) * g->w;
        const uint8_t *restrict gone = removed + row;
        const REAL *value = (REAL *)ROW(g, g->value, i);
        REAL *restrict to = filled + row * depth;
        for (int j = 0; j < whole; j += W) {
            I lost = load_bytes(gone + j) != 0;
            V c[3];
            for (int k = 0; k < 3; k++) {
                size_t at = k * pixels + row + j;
                V x = load(value + k * g->segment + j);
                if (noise) x += load(noise + at);
                c[k] = choose(lost, x, load(image + at));
            }
            store(to + 3 * j, BESIDE(0, c[0], c[1], c[2]));
            store(to + 3 * j + W, BESIDE(1, c[0], c[1], c[2]));
            store(to + 3 * j + 2 * W, BESIDE(2, c[0], c[1], c[2]));
        }
        for (int k = 0; k < colours; k++) {
            const REAL *restrict from = image + k * pixels + row, *restrict x = value + k * g->segment;
            const REAL *restrict more = noise + (noise ? k * pixels + row : 0);
            for (int j = whole; j < g->w; j++) {
                REAL filler = noise ? x[j] + more[j] : x[j];
                to[j * depth + k] = gone[j] ? filler : from[j];
            }
        }
    }
}

/* Sizes of the grids; their places too where memory is given. Returns the vectors needed. */
static size_t lay_out(Grid *g, int h, int w, int colours, V *memory, uint8_t *flags, int *levels) {
    int rows = h, columns = w;
    for (*levels = 1;; ++*levels) {
        int least = rows < columns ? rows : columns, most = rows < columns ? columns : rows;
        if (least <= COARSEST && most <= LONGEST && *levels > 1) break;
        rows = half(rows), columns = half(columns);
    }
    int segment = (columns + 1) << (*levels - 1);
    size_t vectors = 0;
    rows = h, columns = w;
    for (Grid *c = g; c < g + *levels; c++, rows = half(rows), columns = half(columns)) {
        c->lift = rows == 1 || columns == 1 ? 2 : 1;
        c->h = rows, c->w = columns, c->segment = segment >> (c - g);
        c->n = (colours * c->segment + W - 1) / W;
        V **fields[] = {&c->missing, &c->known, &c->share, &c->value, &c->residual, &c->error,
                        &c->spare, &c->direction, &c->product};
        V **lines[] = {c->inverse, c->inverse + 1, c->diagonal, c->diagonal + 1, &c->left, &c->right};
        int kinds = c == g ? 9 : 8;
        if (c > g) fields[7] = &c->scale;
        else c->scale = NULL;
        for (int k = 0; k < kinds; k++, vectors += (size_t)(rows + 3) * c->n)
            *fields[k] = memory + vectors;
        for (int k = 0; k < 6; k++, vectors += c->n) *lines[k] = memory + vectors;
        c->active = flags, flags += rows + 3;
    }
    return vectors;
}

#define NO_MEMORY (-1)

/* images: [any, colours, h, w], of which mask m takes row rows[m]; noise, or NULL: likewise; removed:
 * [count, h, w]; filled: [count, h, w, colours]. Returns count, or the place of the first mask that
 * leaves no known pixel, or NO_MEMORY. */
int impute(const REAL *images, const uint8_t *removed, const REAL *noise, const int64_t *rows,
           REAL *filled, int count, int colours, int h, int w, double tolerance, double least,
           double most, int cycles, int threads) {
    int together = (size_t)7 * h * w * colours * sizeof(REAL) > CACHE ? 1 : colours, sound = count;
    size_t pixels = (size_t)h * w, size = pixels * colours;
    (void)threads; /* without OpenMP */
#pragma omp parallel num_threads(threads) reduction(min : sound)
    {
        Grid g[32];
        int levels, mine = count;
        size_t vectors = lay_out(g, h, w, together, NULL, NULL, &levels), bytes = sizeof(V) * vectors;
        V *memory = aligned_alloc(BYTES, bytes);
        uint8_t *flags = calloc((size_t)2 * h + 256, 1);
        int fresh = 0;
        if (!memory || !flags) mine = NO_MEMORY;
#pragma omp for schedule(dynamic)
        for (int m = 0; m < count; m++) {
            for (int k = 0; k < colours && mine == count; k += together) {
                if (!fresh) {
                    memset(memory, 0, bytes);
                    lay_out(g, h, w, together, memory, flags, &levels);
                    for (int l = 0; l < levels; l++) diagonals(g + l, together);
                }
                const uint8_t *gone = removed + m * pixels;
                size_t at = rows[m] * size + k * pixels;
                const REAL *more = noise ? noise + at : NULL;
                if (!put(g, images + at, gone, together)) { mine = m; break; }
                if (!k || !fresh) hierarchy(g, levels);
                /* What is not finite would stay in the padding. */
                fresh = solve(g, levels, together, tolerance, least, most, cycles);
                get(g, images + at, gone, more, filled + m * size + k, together, colours);
            }
        }
        sound = mine;
        free(memory);
        free(flags);
    }
    return sound;
}

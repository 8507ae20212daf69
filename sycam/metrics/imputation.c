/* The compiled engine of sycam/metrics/imputation.py: the same algorithm, one image at a time, so
 * that it never leaves the cache. Compiled once for float and once for double (REAL). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>

/* One level: fields of (h + 2) rows of s = w + 2 values, with a ring of zeros. */
typedef struct {
    int h, w, s;
    REAL *missing, *inverse, *diagonal, *share, *error, *residual, *spare;
} Grid;

#define ROWS(g) for (int i = 1; i <= (g)->h; i++)
#define COLUMNS(g) for (int j = 1; j <= (g)->w; j++)

static REAL *take(REAL **pool, const Grid *g) {
    REAL *field = *pool;
    *pool += (size_t)(g->h + 2) * g->s;
    return field;
}

/* 12 times the weighted sum of the neighbours of x[j], where up and down are the rows around. */
static inline REAL around(const REAL *x, int s, int j) {
    return x[j - s - 1] + x[j - s + 1] + x[j + s - 1] + x[j + s + 1]
         + 2 * (x[j - s] + x[j + s] + x[j - 1] + x[j + 1]);
}

static void sum_cells(const Grid *fine, const REAL *x, const Grid *g, REAL *out) {
    ROWS(g) {
        const REAL *a = x + (size_t)(2 * i - 1) * fine->s, *b = a + fine->s;
        REAL *o = out + (size_t)i * g->s;
        COLUMNS(g) o[j] = a[2 * j - 1] + a[2 * j] + b[2 * j - 1] + b[2 * j];
    }
}

/* x += missing * bilinear interpolation of the coarser field (nearest beyond its edge). */
static void add_interpolated(const Grid *g, REAL *x, const Grid *coarse, const REAL *y, REAL *row) {
    ROWS(g) {
        int c = (i + 1) / 2, n = i % 2 ? c - 1 : c + 1;
        n = n < 1 ? 1 : n > coarse->h ? coarse->h : n;
        const REAL *near = y + (size_t)c * coarse->s, *far = y + (size_t)n * coarse->s;
        COLUMNS(coarse) row[j] = (REAL)0.75 * near[j] + (REAL)0.25 * far[j];
        row[0] = row[1];
        row[coarse->w + 1] = row[coarse->w];
        REAL *o = x + (size_t)i * g->s;
        const REAL *m = g->missing + (size_t)i * g->s;
        int pairs = g->w / 2;
        for (int j = 1; j <= pairs; j++) {
            o[2 * j - 1] += m[2 * j - 1] * ((REAL)0.75 * row[j] + (REAL)0.25 * row[j - 1]);
            o[2 * j] += m[2 * j] * ((REAL)0.75 * row[j] + (REAL)0.25 * row[j + 1]);
        }
        if (g->w % 2) o[g->w] += m[g->w] * ((REAL)0.75 * row[pairs + 1] + (REAL)0.25 * row[pairs]);
    }
}

static void cycle(Grid *g, int levels, REAL *row) {
    size_t size = (size_t)(g->h + 2) * g->s;
    for (size_t k = 0; k < size; k++) g->error[k] = g->residual[k] * g->inverse[k];
    if (levels > 1) {
        ROWS(g) {
            size_t at = (size_t)i * g->s;
            const REAL *x = g->error + at, *m = g->missing + at;
            REAL *o = g->spare + at;
            COLUMNS(g) o[j] = m[j] * (REAL)(1.0 / 12) * around(x, g->s, j);
        }
        sum_cells(g, g->spare, g + 1, g[1].residual);
        cycle(g + 1, levels - 1, row);
        add_interpolated(g, g->error, g + 1, g[1].error, row);
    }
    for (int sweep = levels > 1 ? 1 : 3; sweep; sweep--) {
        ROWS(g) {
            size_t at = (size_t)i * g->s;
            const REAL *x = g->error + at, *r = g->residual + at, *v = g->inverse + at;
            REAL *o = g->spare + at;
            COLUMNS(g) o[j] = v[j] * (r[j] + (REAL)(1.0 / 12) * around(x, g->s, j));
        }
        REAL *swap = g->error; g->error = g->spare; g->spare = swap;
    }
}

/* residual holds the known averages of each level; error becomes the guess. */
static void first_guess(Grid *g, int levels, REAL *row) {
    for (int l = 1; l < levels; l++) {
        sum_cells(g + l - 1, g[l - 1].residual, g + l, g[l].residual);
        size_t size = (size_t)(g[l].h + 2) * g[l].s;
        for (size_t k = 0; k < size; k++) g[l].residual[k] *= g[l].share[k];
    }
    Grid *last = g + levels - 1;
    REAL total = 0, known = 0;
    ROWS(last) COLUMNS(last) {
        size_t k = (size_t)i * last->s + j;
        total += last->residual[k];
        known += 1 - last->missing[k];
    }
    ROWS(last) COLUMNS(last) {
        size_t k = (size_t)i * last->s + j;
        last->error[k] = last->residual[k] + last->missing[k] * total / known;
    }
    for (int l = levels - 2; l >= 0; l--) {
        Grid *f = g + l;
        memcpy(f->error, f->residual, sizeof(REAL) * (size_t)(f->h + 2) * f->s);
        add_interpolated(f, f->error, f + 1, f[1].error, row);
        if (l == 0) break;
        ROWS(f) {
            size_t at = (size_t)i * f->s;
            const REAL *x = f->error + at, *v = f->inverse + at, *d = f->diagonal + at;
            REAL *o = f->spare + at;
            COLUMNS(f) o[j] = x[j] + v[j] * ((REAL)(1.0 / 12) * around(x, f->s, j) - d[j] * x[j]);
        }
        REAL *swap = f->error; f->error = f->spare; f->spare = swap;
    }
}

/* The sums of the weights of the neighbours inside, which no mask changes. */
static void diagonals(Grid *g, int levels) {
    for (; levels--; g++) ROWS(g) COLUMNS(g) {
        int y = (i > 1) + (i < g->h), x = (j > 1) + (j < g->w);
        g->diagonal[(size_t)i * g->s + j] = (REAL)((2 * (x + y) + x * y) / 12.0);
    }
}

/* A coarse cell is missing where all its fine ones are; share is 1 / the number of known ones. */
static void hierarchy(Grid *g, int levels) {
    for (int l = 0; l < levels; l++) {
        Grid *c = g + l;
        if (l) ROWS(c) {
            const Grid *f = c - 1;
            size_t at = (size_t)i * c->s;
            const REAL *a = f->missing + (size_t)(2 * i - 1) * f->s;
            const REAL *b = 2 * i <= f->h ? a + f->s : a;
            REAL *o = c->missing + at, *share = c->share + at;
            COLUMNS(c) {
                /* Beyond an odd edge the last fine cell counts again: as missing, or known. */
                int k = 2 * j - 1, right = 2 * j <= f->w ? k + 1 : k;
                REAL known = 4 - a[k] - a[right] - b[k] - b[right];
                o[j] = known == 0;
                REAL cells = known;
                if (right == k) cells -= 2 - a[k] - b[k];
                if (b == a) cells -= right == k ? 1 - a[k] : 2 - a[k] - a[right];
                share[j] = 1 / (cells > 1 ? cells : 1);
            }
        }
        ROWS(c) {
            size_t at = (size_t)i * c->s;
            const REAL *m = c->missing + at, *d = c->diagonal + at;
            REAL *o = c->inverse + at;
            COLUMNS(c) o[j] = m[j] / d[j];
        }
    }
}

static void solve(Grid *g, int levels, REAL *x, REAL *p, REAL *q, REAL *row,
                  double tolerance, double least, double most, int cycles) {
    int s = g->s;
    size_t size = (size_t)(g->h + 2) * s;
    memcpy(g->residual, x, sizeof(REAL) * size);
    first_guess(g, levels, row);
    memcpy(x, g->error, sizeof(REAL) * size);
    memset(p, 0, sizeof(REAL) * size);
    memset(q, 0, sizeof(REAL) * size);
    ROWS(g) {
        size_t at = (size_t)i * s;
        const REAL *y = x + at, *m = g->missing + at, *d = g->diagonal + at;
        REAL *o = g->residual + at;
        COLUMNS(g) o[j] = m[j] * ((REAL)(1.0 / 12) * around(y, s, j) - d[j] * y[j]);
    }
    REAL energy = 1;
    double change = 0;
    while (cycles--) {
        cycle(g, levels, row);
        REAL *z = g->error, *r = g->residual;
        REAL overlap = 0, gain = 0;
        for (size_t k = 0; k < size; k++) overlap += z[k] * q[k];
        overlap /= energy;
        /* The new direction is made conjugate to the last one, whatever the rounding. */
        for (size_t k = 0; k < size; k++) p[k] = z[k] - overlap * p[k];
        energy = 0;
        ROWS(g) {
            size_t at = (size_t)i * s;
            const REAL *y = p + at, *m = g->missing + at, *d = g->diagonal + at, *b = r + at;
            REAL *o = q + at, e = 0, a = 0;
            COLUMNS(g) {
                o[j] = m[j] * (d[j] * y[j] - (REAL)(1.0 / 12) * around(y, s, j));
                e += o[j] * y[j];
                a += b[j] * y[j];
            }
            energy += e;
            gain += a;
        }
        if (!(energy > 0)) break; /* nothing is missing, or the solution is exact */
        REAL step = gain / energy;
        for (size_t k = 0; k < size; k++) { x[k] += step * p[k]; r[k] -= step * q[k]; }
        double before = change, square = (double)gain * step;
        change = square > 0 ? sqrt(square) : 0;
        double ratio = change < most * before ? change / before : most;
        if (ratio < least) ratio = least;
        if (!(change * ratio / (1 - ratio) > tolerance)) break;
    }
}

/* images, filled: [count, colours, h, w]; removed: [count, h, w]. Returns 0, or 1: no memory. */
int impute(const REAL *images, const uint8_t *removed, REAL *filled, int count, int colours,
           int h, int w, double tolerance, double least, double most, int cycles) {
    Grid g[32];
    int levels = 0;
    size_t need = 0;
    for (int a = h, b = w;; a = (a + 1) / 2, b = (b + 1) / 2) {
        g[levels].h = a, g[levels].w = b, g[levels].s = b + 2;
        need += 7 * (size_t)(a + 2) * (b + 2);
        levels++;
        if (a <= 2 || b <= 2) break;
    }
    size_t size = (size_t)(h + 2) * (w + 2), pixels = (size_t)h * w;
    REAL *memory = calloc(need + 3 * size + w + 4, sizeof(REAL)), *pool = memory;
    if (!memory) return 1;
    for (int l = 0; l < levels; l++) {
        g[l].missing = take(&pool, g + l), g[l].inverse = take(&pool, g + l);
        g[l].diagonal = take(&pool, g + l), g[l].share = take(&pool, g + l);
        g[l].error = take(&pool, g + l), g[l].residual = take(&pool, g + l);
        g[l].spare = take(&pool, g + l);
    }
    diagonals(g, levels);
    REAL *x = take(&pool, g), *p = take(&pool, g), *q = take(&pool, g), *row = pool;
    for (int n = 0; n < count; n++) {
        const uint8_t *mask = removed + n * pixels;
        ROWS(g) {
            REAL *o = g->missing + (size_t)i * g->s;
            COLUMNS(g) o[j] = mask[(size_t)(i - 1) * w + j - 1];
        }
        hierarchy(g, levels);
        for (int c = 0; c < colours; c++) {
            const REAL *from = images + (n * colours + c) * pixels;
            REAL *to = filled + (n * colours + c) * pixels;
            ROWS(g) COLUMNS(g) {
                size_t k = (size_t)(i - 1) * w + j - 1;
                x[(size_t)i * g->s + j] = mask[k] ? 0 : from[k];
            }
            solve(g, levels, x, p, q, row, tolerance, least, most, cycles);
            ROWS(g) COLUMNS(g) {
                size_t k = (size_t)(i - 1) * w + j - 1;
                to[k] = mask[k] ? x[(size_t)i * g->s + j] : from[k];
            }
        }
    }
    free(memory);
    return 0;
}

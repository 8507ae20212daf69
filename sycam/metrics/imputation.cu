/* The CUDA engine of sycam/metrics/imputation.py: the algorithm of imputation.c, a block of threads
 * for one colour of one image, so that a whole batch is one launch. Compiled once for float and once
 * for double (REAL). As plain C it compiles too, with one thread a block: that is how it is tested
 * where there is no GPU.
 *
 * A thread works on a strip, four cells of a column, since what it waits for is memory: a strip's
 * loads do not depend on each other. The threads of a warp stand side by side along a row. A field
 * of h x w cells has a border of zeros, and zeros below up to whole strips of the next coarser grid,
 * so that no load needs a check. All fields but `value` are zero where nothing is missing; strips
 * without a missing cell are skipped. */
#ifdef __cplusplus
extern "C" {
#endif

#define LEVELS 16
/* Cells along the shorter and along the longer side at which coarsening ends, after one step at
 * least. In a thin image a side of 1 stays while the other goes on. */
#define COARSEST 8
#define LONGEST 32
#define SWEEPS 6   /* of Jacobi on the coarsest grid; even, so that it ends where it began */
#define FAR ((REAL)0.1)   /* weight of a cell beside a missing one: FAR + NEAR for each of its four */
#define NEAR ((REAL)0.35) /* that is known */
#define STRIP 4
#ifndef LANES
#define LANES 32
#endif

typedef struct {
    int h, w;
    unsigned char *missing; /* bit k of a strip: whether its cell k is missing */
    REAL *value, *residual, *error, *spare;
    REAL *direction, *product; /* of conjugate gradients, at the finest grid */
    REAL *scale;               /* 1 / diagonal of the correction, at coarser grids */
} Grid;

#define ROW(g) ((g)->w + 2)
#define AT(g, i, j) ((size_t)(i) * ROW(g) + (j))
#define BITS(g, i, j) ((g)->missing[(size_t)(((i) - 1) / STRIP) * ROW(g) + (j)])
#define STRIPS(g) (((g)->h + STRIP - 1) / STRIP)
/* The statements for each strip, whose first cell is (i, j), counted from 1, with its place `at`; all
 * threads meet afterwards. */
#define EACH(g, ...) do { \
    const int chunks_ = ((g)->w + LANES - 1) / LANES, warps_ = (blockDim.x + LANES - 1) / LANES; \
    for (int t_ = threadIdx.x / LANES; t_ < chunks_ * STRIPS(g); t_ += warps_) { \
        const int i = t_ / chunks_ * STRIP + 1, j = t_ % chunks_ * LANES + threadIdx.x % LANES + 1; \
        if (j > (g)->w) continue; \
        const size_t at = AT(g, i, j); \
        __VA_ARGS__ \
    } \
    __syncthreads(); } while (0)
/* Likewise, strips with a missing cell only; `bits` says which. */
#define EACH_MISSING(g, ...) EACH(g, const int bits = BITS(g, i, j); if (!bits) continue; __VA_ARGS__)
#define CELLS(k) _Pragma("unroll") for (int k = 0; k < STRIP; k++)
#define MISSING_CELLS(k) CELLS(k) if (bits >> k & 1)
#define PLACE(g, k) (at + (size_t)(k) * ROW(g))

/* The sum of the weights of the neighbours inside the grid. */
__device__ static REAL diagonal(const Grid *g, int i, int j) {
    int y = (i > 1) + (i < g->h), x = (j > 1) + (j < g->w);
    return x + y == 4 ? (REAL)1 : (REAL)(2 * (x + y) + x * y) * (REAL)(1.0 / 12);
}

/* 1 / diagonal of the correction, for a strip: at the finest grid nearly everywhere 1. */
__device__ static void weights(const Grid *g, int i, int j, REAL *out) {
    size_t at = AT(g, i, j);
    int inner = i > 1 && j > 1 && i + STRIP <= g->h && j < g->w;
    CELLS(k) out[k] = g->scale ? g->scale[PLACE(g, k)] : inner ? (REAL)1 : 1 / diagonal(g, i + k, j);
}

/* The weighted sums of the neighbours of a strip's cells; outside counts zero. */
__device__ static void means(const Grid *g, const REAL *x, size_t at, REAL *out) {
    REAL beside[STRIP + 2], here[STRIP + 2];
    _Pragma("unroll") for (int k = 0; k < STRIP + 2; k++) {
        const REAL *p = x + at + (long long)(k - 1) * ROW(g);
        beside[k] = p[-1] + p[1];
        here[k] = p[0];
    }
    CELLS(k) out[k] = (here[k] + here[k + 2] + beside[k + 1]) * (REAL)(1.0 / 6)
                    + (beside[k] + beside[k + 2]) * (REAL)(1.0 / 12);
}

/* Bilinear interpolation of the next coarser field to a strip; nearest beyond its edge. */
__device__ static void interpolated(const Grid *c, const REAL *x, int i, int j, REAL *out) {
    int near = (j + 1) / 2, far = j % 2 ? near - 1 : near + 1, first = i / 2;
    far = far < 1 ? 1 : far > c->w ? c->w : far;
    REAL v[STRIP];
    CELLS(k) {
        int row = first + k;
        const REAL *p = x + AT(c, row < 1 ? 1 : row > c->h ? c->h : row, 0);
        v[k] = (REAL)0.75 * p[near] + (REAL)0.25 * p[far];
    }
    out[0] = (REAL)0.75 * v[1] + (REAL)0.25 * v[0];
    out[1] = (REAL)0.75 * v[1] + (REAL)0.25 * v[2];
    out[2] = (REAL)0.75 * v[2] + (REAL)0.25 * v[1];
    out[3] = (REAL)0.75 * v[2] + (REAL)0.25 * v[3];
}

/* Sums of two numbers over the threads of a block, always in the same order; all threads get them. */
__device__ static void total(REAL *a, REAL *b, REAL *room) {
    const int warp = threadIdx.x / LANES, warps = (blockDim.x + LANES - 1) / LANES;
    for (int s = LANES / 2; s; s /= 2) {
        *a += __shfl_xor_sync(0xffffffffu, *a, s);
        *b += __shfl_xor_sync(0xffffffffu, *b, s);
    }
    if (threadIdx.x % LANES == 0) room[2 * warp] = *a, room[2 * warp + 1] = *b;
    __syncthreads();
    *a = *b = 0;
    for (int k = 0; k < warps; k++) *a += room[2 * k], *b += room[2 * k + 1];
    __syncthreads();
}

/* The residual of grid c, of what the first sweep of Jacobi from zero leaves at grid f: the means of
 * the neighbours' errors, summed over each missing cell. All fine cells of such a one are missing. At
 * twice the step, the same stencil is the equation of a residual four times as large; along a line a
 * cell has two members only. */
__device__ static void restricted(const Grid *f, Grid *c) {
    const REAL share = (REAL)((f->h == 1 || f->w == 1 ? 2 : 1) / 12.0);
    EACH_MISSING(c, {
        /* [1 3 3 1] squared, less four times the cell's own: the stencil has no centre. */
        REAL sums[STRIP] = {0};
        const int inner = i > 1 && j > 1 && 2 * (i + STRIP) - 1 < f->h && 2 * j + 1 < f->w;
        _Pragma("unroll") for (int k = 0; k < 2 * STRIP + 2; k++) {
            const int row = 2 * i - 2 + k;
            const size_t first = AT(f, row, 2 * j - 2);
            REAL e[4];
            _Pragma("unroll") for (int m = 0; m < 4; m++) {
                e[m] = f->residual[first + m];
                if (f->scale) e[m] *= f->scale[first + m];
                else if (!inner && e[m] != 0) e[m] /= diagonal(f, row, 2 * j - 2 + m);
            }
            const REAL centre = e[1] + e[2];
            const REAL across = e[0] + e[3] + 3 * centre;
            /* Row 2i - 2 + k is row k - 2m of the four that reach cell m. */
            CELLS(m) {
                if (k - 2 * m == 0 || k - 2 * m == 3) sums[m] += across;
                if (k - 2 * m == 1 || k - 2 * m == 2) sums[m] += 3 * across - 4 * centre;
            }
        }
        MISSING_CELLS(k) c->residual[PLACE(c, k)] = sums[k] * share;
    });
}

/* out = (residual + means of x) / diagonal; returns this thread's share of its product with q. */
__device__ static REAL smooth(const Grid *g, const REAL *x, REAL *out, const REAL *q) {
    REAL sum = 0;
    EACH_MISSING(g, {
        REAL mean[STRIP];
        REAL weight[STRIP];
        means(g, x, at, mean);
        weights(g, i, j, weight);
        MISSING_CELLS(k) {
            REAL e = (g->residual[PLACE(g, k)] + mean[k]) * weight[k];
            out[PLACE(g, k)] = e;
            if (q) sum += e * q[PLACE(g, k)];
        }
    });
    return sum;
}

/* One V-cycle from zero about the residual of grid l. Returns the error, a field of grid l; `along`
 * becomes this thread's share of its product with q. The first sweep is not stored on the way down. */
__device__ static REAL *cycle(Grid *g, int l, int last, const REAL *q, REAL *along) {
    for (int k = l; k < last; k++) restricted(g + k, g + k + 1);
    Grid *c = g + last;
    EACH_MISSING(c, {
        REAL weight[STRIP];
        weights(c, i, j, weight);
        MISSING_CELLS(k) c->error[PLACE(c, k)] = c->residual[PLACE(c, k)] * weight[k];
    });
    REAL *from = c->error, *to = c->spare;
    for (int k = 0; k < SWEEPS; k++) {
        smooth(c, from, to, 0);
        REAL *kept = from;
        from = to;
        to = kept;
    }
    for (int n = last - 1; n >= l; n--) {
        Grid *f = g + n;
        EACH_MISSING(f, {
            REAL weight[STRIP];
            REAL coarse[STRIP];
            weights(f, i, j, weight);
            interpolated(f + 1, from, i, j, coarse);
            MISSING_CELLS(k) {
                f->error[PLACE(f, k)] = f->residual[PLACE(f, k)] * weight[k] + coarse[k];
            }
        });
        *along = smooth(f, f->error, f->spare, n == 0 ? q : 0);
        from = f->spare;
    }
    return from;
}

__device__ static void defect(Grid *g) {
    EACH_MISSING(g, {
        REAL mean[STRIP];
        means(g, g->value, at, mean);
        MISSING_CELLS(k) {
            g->residual[PLACE(g, k)] = mean[k] - diagonal(g, i + k, j) * g->value[PLACE(g, k)];
        }
    });
}

/* Grid c from the finer f: a cell is missing where all its fine ones are, else it has the mean of the
 * known. The zero of an error lies nearer to a missing cell the more of the cell beside it is known,
 * which weighs so much more in its diagonal (`spare` holds these weights for a moment). */
__device__ static void coarser(const Grid *f, Grid *c) {
    const REAL near = f->h == 1 || f->w == 1 ? 2 * NEAR : NEAR;
    EACH(c, {
        int bits = 0;
        CELLS(k) {
            if (i + k > c->h) break;
            REAL sum = 0;
            int known = 0;
            for (int p = 2 * (i + k) - 1; p <= 2 * (i + k) && p <= f->h; p++)
                for (int q = 2 * j - 1; q <= 2 * j && q <= f->w; q++) {
                    sum += f->value[AT(f, p, q)];
                    known += !(BITS(f, p, q) >> (p - 1) % STRIP & 1);
                }
            const size_t place = PLACE(c, k);
            c->value[place] = known ? sum / known : 0;
            c->spare[place] = known ? FAR + near * known : 1;
            c->residual[place] = c->error[place] = c->scale[place] = 0;
            bits |= !known << k;
        }
        BITS(c, i, j) = bits;
    });
    EACH_MISSING(c, {
        REAL mean[STRIP];
        means(c, c->spare, at, mean);
        MISSING_CELLS(k) c->scale[PLACE(c, k)] = 1 / mean[k];
    });
    EACH(c, CELLS(k) c->spare[PLACE(c, k)] = 0;);
}

/* value holds the known pixels of the finest grid and becomes the guess: holes are filled from ever
 * coarser averages of the known, and one cycle on each coarser grid improves what is handed on.
 * Returns whether anything is known. */
__device__ static int first_guess(Grid *g, int last, REAL *room) {
    for (int l = 1; l <= last; l++) coarser(g + l - 1, g + l);
    Grid *c = g + last;
    REAL sum = 0, count = 0, none;
    EACH(c, {
        const int bits = BITS(c, i, j);
        CELLS(k) {
            if (i + k > c->h || bits >> k & 1) continue;
            sum += c->value[PLACE(c, k)];
            count += 1;
        }
    });
    total(&sum, &count, room);
    if (!(count > 0)) return 0;
    EACH_MISSING(c, MISSING_CELLS(k) c->value[PLACE(c, k)] = sum / count;);
    for (int l = last; l >= 0; l--) {
        c = g + l;
        if (l < last) EACH_MISSING(c, {
            REAL coarse[STRIP];
            interpolated(c + 1, c[1].value, i, j, coarse);
            MISSING_CELLS(k) c->value[PLACE(c, k)] = coarse[k];
        });
        defect(c);
        if (l == 0) break;
        const REAL *error = cycle(g, l, last, 0, &none);
        EACH_MISSING(c, MISSING_CELLS(k) c->value[PLACE(c, k)] += error[PLACE(c, k)];);
    }
    return 1;
}

/* Conjugate gradients preconditioned by a cycle, from the guess to the solution. */
__device__ static void solve(Grid *g, int last, double tolerance, double least, double most,
                             int cycles, REAL *room) {
    REAL energy = 1, step = 0, none = 0;
    REAL *x = g->value, *r = g->residual, *p = g->direction, *q = g->product;
    double change = 0;
    for (int n = 0; n < cycles; n++) {
        REAL overlap = 0;
        const REAL *z = cycle(g, 0, last, n ? q : 0, &overlap);
        if (n) total(&overlap, &none, room);
        overlap = n ? overlap / energy : 0;
        /* The new direction is made conjugate to the last one, whatever the rounding; what the
         * system makes of it follows by the same sum. The last step is taken while the last
         * direction is at hand. */
        REAL push = 0, pull = 0;
        EACH_MISSING(g, {
            REAL mean[STRIP];
            means(g, z, at, mean);
            MISSING_CELLS(k) {
                const size_t place = PLACE(g, k);
                REAL along = z[place];
                REAL made = diagonal(g, i + k, j) * along - mean[k];
                if (n) {
                    x[place] += step * p[place];
                    along -= overlap * p[place];
                    made -= overlap * q[place];
                }
                push += along * made;
                pull += along * r[place];
                p[place] = along;
                q[place] = made;
            }
        });
        total(&push, &pull, room);
        energy = push;
        step = 0;
        if (!(energy > 0)) break; /* nothing is missing, or the solution is exact */
        step = pull / energy;
        double before = change, square = (double)pull * step;
        change = square > 0 ? sqrt(square) : 0;
        double ratio = change < most * before ? change / before : most;
        if (ratio < least) ratio = least;
        if (!(change * ratio / (1 - ratio) > tolerance)) break;
        EACH_MISSING(g, MISSING_CELLS(k) r[PLACE(g, k)] -= step * q[PLACE(g, k)];);
    }
    if (step != 0) EACH_MISSING(g, MISSING_CELLS(k) x[PLACE(g, k)] += step * p[PLACE(g, k)];);
}

/* Places of the grids in a block's workspace; returns the last grid's number. */
__device__ static int lay_out(Grid *g, int h, int w, char *memory) {
    int last = 0;
    for (int rows = h, columns = w;; rows = (rows + 1) / 2, columns = (columns + 1) / 2, last++) {
        int least = rows < columns ? rows : columns, most = rows < columns ? columns : rows;
        int strips = 2 * ((rows + 2 * STRIP - 1) / (2 * STRIP));
        Grid *c = g + last;
        size_t row = columns + 2, places = row * (strips * STRIP + 2);
        REAL **fields[] = {&c->value, &c->residual, &c->error, &c->spare, &c->scale, &c->product};
        c->h = rows, c->w = columns;
        if (!last) fields[4] = &c->direction, c->scale = 0;
        for (int k = 0; k < (last ? 5 : 6); k++, memory += places * sizeof(REAL))
            *fields[k] = (REAL *)memory;
        c->missing = (unsigned char *)memory;
        memory += (strips * row + 15) / 16 * 16;
        if ((least <= COARSEST && most <= LONGEST && last) || last == LEVELS - 1) return last;
    }
}

/* images: [any, colours, h, w], of which item m takes row rows[m]; removed: [count, h, w]; noise, or
 * nothing: like images; filled: [count, colours, h, w]. memory: `room` times 16 bytes a block,
 * all zero. sound becomes the least m with no known pixel. */
__global__ void __launch_bounds__(1024) impute(
        const REAL *images, const long long *rows, const unsigned char *removed, const REAL *noise,
        REAL *filled, int *sound, char *memory, int room, int count, int colours, int h, int w,
        int noisy, double tolerance, double least, double most, int cycles) {
    __shared__ Grid grids[LEVELS];
    __shared__ int last;
    __shared__ REAL sums[2 * 1024 / LANES];
    Grid *g = grids;
    if (threadIdx.x == 0) last = lay_out(g, h, w, memory + (size_t)blockIdx.x * room * 16);
    __syncthreads();
    const size_t pixels = (size_t)h * w;
    for (int item = blockIdx.x; item < count * colours; item += gridDim.x) {
        const int m = item / colours;
        const size_t from = ((size_t)rows[m] * colours + item % colours) * pixels;
        const unsigned char *gone = removed + m * pixels;
        const REAL *image = images + from;
        REAL *to = filled + (size_t)item * pixels;
        EACH(g, {
            int bits = 0;
            CELLS(k) {
                if (i + k > h) break;
                const size_t pixel = (size_t)(i + k - 1) * w + j - 1;
                const size_t place = PLACE(g, k);
                bits |= (gone[pixel] != 0) << k;
                g->value[place] = gone[pixel] ? (REAL)0 : image[pixel];
                g->residual[place] = g->error[place] = g->spare[place] = 0;
            }
            BITS(g, i, j) = bits;
        });
        if (first_guess(g, last, sums)) solve(g, last, tolerance, least, most, cycles, sums);
        else if (threadIdx.x == 0) atomicMin(sound, m);
        EACH(g, CELLS(k) {
            if (i + k > h) break;
            const size_t pixel = (size_t)(i + k - 1) * w + j - 1;
            REAL x = g->value[PLACE(g, k)];
            if (noisy && gone[pixel]) x += noise[from + pixel];
            to[pixel] = gone[pixel] ? x : image[pixel];
        });
    }
}

#ifdef __cplusplus
}
#endif

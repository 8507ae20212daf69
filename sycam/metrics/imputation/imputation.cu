/* The CUDA engine of sycam/metrics/imputation/impute.py: the algorithm of imputation.c, a block of threads
 * for one colour of one image, so that a whole batch is one launch. Compiled once for float and once
 * for double (REAL). As plain C it compiles too, with one thread a block: that is how it is tested
 * where there is no GPU.
 *
 * A thread works on a strip, four cells of a column: a strip's loads do not depend on each other.
 * The threads of a warp stand side by side along a row. A field of h x w cells has a border of zeros,
 * and zeros below up to whole strips of the next coarser grid, so that no load needs a check. All
 * fields but `value` are zero where nothing is missing, so that sums and steps need none either;
 * strips without a missing cell are skipped.
 *
 * Instructions count, so what only the edge of the finest grid needs is kept apart from the rest
 * (`inner`). Waiting counts most: what a strip loads is loaded before anything is stored, since the
 * compiler must not move a load before a store. Memory counts too, which the blocks of large images
 * share: in the float kernel (HALVES) all fields but `value` are kept as half floats, in units of the
 * image's largest known value. They are corrections, of which a thousandth does not matter; where it
 * does, at small tolerances, the double kernel serves, which keeps doubles. */
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
#define FUNCTION __device__ static __forceinline__
#ifdef __CUDACC__ /* pointers that come from shared memory, but lead to the device's: faster loads */
#define GLOBAL(p) __builtin_assume(__isGlobal(p))
#else
#define GLOBAL(p)
#endif
#define ALL_GLOBAL(g) GLOBAL((g).missing); GLOBAL((g).value); GLOBAL((g).residual); \
    GLOBAL((g).error); GLOBAL((g).spare)

#ifndef HALVES
typedef REAL HELD;
#define GET(p) (*(p))
#define PUT(p, x) (*(p) = (x))
#elif defined(__CUDACC__)
typedef unsigned short HELD;
FUNCTION float float_of(HELD x) {
    float out;
    asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(x));
    return out;
}
FUNCTION HELD half_of(float x) {
    HELD out;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out) : "f"(x));
    return out;
}
#define GET(p) float_of(*(p))
#define PUT(p, x) (*(p) = half_of(x))
#else
typedef _Float16 HELD;
#define GET(p) ((REAL)*(p))
#define PUT(p, x) (*(p) = (HELD)(x))
#endif

typedef struct {
    int h, w;
    unsigned char *missing; /* bit k of a strip: whether its cell k is missing */
    REAL *value;
    HELD *residual, *error, *spare;
    HELD *direction, *product; /* of conjugate gradients, at the finest grid */
    HELD *scale;               /* 1 / diagonal of the correction, at coarser grids; 0: not missing */
} Grid;

#define ROW(g) ((g).w + 2)
#define AT(g, i, j) ((i) * ROW(g) + (j))
#define STRIPS(g) (((g).h + STRIP - 1) / STRIP)
#define BITS(g, i, j) ((g).missing[((i) - 1) / STRIP * ROW(g) + (j)])
/* The statements for each strip, whose first cell is (i, j), counted from 1, with its place `at`; all
 * threads meet afterwards. */
#define EACH(g, ...) do { \
    const int chunks_ = ((g).w + LANES - 1) / LANES, warps_ = (blockDim.x + LANES - 1) / LANES; \
    const int down_ = warps_ / chunks_, along_ = warps_ % chunks_, warp_ = threadIdx.x / LANES; \
    int s_ = warp_ / chunks_, c_ = warp_ % chunks_; \
    for (; s_ < STRIPS(g); s_ += down_, c_ += along_, c_ >= chunks_ ? s_++, c_ -= chunks_ : 0) { \
        const int i = s_ * STRIP + 1, j = c_ * LANES + threadIdx.x % LANES + 1; \
        const int at = AT(g, i, j); \
        if (j <= (g).w) { __VA_ARGS__ } \
    } \
    __syncthreads(); } while (0)
/* Likewise, strips with a missing cell only; `bits` says which. */
#define EACH_MISSING(g, ...) \
    EACH(g, const int bits = (g).missing[s_ * ROW(g) + j]; if (bits) { __VA_ARGS__ })
#define CELLS(k) _Pragma("unroll") for (int k = 0; k < STRIP; k++)
#define ROWS(k) _Pragma("unroll") for (int k = 0; k < STRIP + 2; k++) /* one more at either end */
#define PLACE(g, k) (at + (k) * ROW(g))
#define IF_MISSING(k, x) (bits >> (k) & 1 ? (x) : (REAL)0)

/* The sum of the weights of the neighbours inside the grid. */
FUNCTION REAL diagonal(Grid g, int i, int j) {
    const int y = (i > 1) + (i < g.h), x = (j > 1) + (j < g.w);
    return (REAL)(2 * (x + y) + x * y) * (REAL)(1.0 / 12);
}

/* 1 / it, at the finest grid, whose sides are at least two cells. */
FUNCTION REAL inverse(Grid g, int i, int j) {
    const int sides = (i > 1) + (i < g.h) + (j > 1) + (j < g.w);
    return sides == 4 ? (REAL)1 : sides == 3 ? (REAL)1.5 : (REAL)2.4;
}

/* Whether all neighbours of a strip's cells, and theirs, are inside, or not missing. */
FUNCTION int inner(Grid g, int i, int j) {
    return i > 2 && j > 2 && i + STRIP < g.h && j + 1 < g.w;
}

/* The weighted sums of the neighbours of a strip's cells; outside counts zero. */
#define MEANS(g, load, out) do { \
    REAL beside_[STRIP + 2], here_[STRIP + 2]; \
    ROWS(k) { \
        const int p = at + (k - 1) * ROW(g); \
        beside_[k] = load(p - 1) + load(p + 1); \
        here_[k] = load(p); \
    } \
    CELLS(k) out[k] = (here_[k] + here_[k + 2] + beside_[k + 1]) * (REAL)(1.0 / 6) \
                    + (beside_[k] + beside_[k + 2]) * (REAL)(1.0 / 12); } while (0)

/* Bilinear interpolation of the next coarser field to a strip; nearest beyond its edge. */
#define INTERPOLATED(c, load, out) do { \
    const int near_ = (j + 1) / 2, aside_ = j % 2 ? near_ - 1 : near_ + 1; \
    const int far_ = aside_ < 1 ? 1 : aside_ > (c).w ? (c).w : aside_; \
    REAL v_[STRIP]; \
    CELLS(k) { \
        const int below_ = i / 2 + k, row_ = below_ < 1 ? 1 : below_ > (c).h ? (c).h : below_; \
        v_[k] = (REAL)0.75 * load(AT(c, row_, near_)) + (REAL)0.25 * load(AT(c, row_, far_)); \
    } \
    out[0] = (REAL)0.75 * v_[1] + (REAL)0.25 * v_[0]; \
    out[1] = (REAL)0.75 * v_[1] + (REAL)0.25 * v_[2]; \
    out[2] = (REAL)0.75 * v_[2] + (REAL)0.25 * v_[1]; \
    out[3] = (REAL)0.75 * v_[2] + (REAL)0.25 * v_[3]; } while (0)

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

/* The largest of the threads' numbers. */
__device__ static REAL largest(REAL a, REAL *room) {
    const int warp = threadIdx.x / LANES, warps = (blockDim.x + LANES - 1) / LANES;
    for (int s = LANES / 2; s; s /= 2) {
        const REAL other = __shfl_xor_sync(0xffffffffu, a, s);
        a = other > a ? other : a;
    }
    if (threadIdx.x % LANES == 0) room[warp] = a;
    __syncthreads();
    for (int k = 0; k < warps; k++) a = room[k] > a ? room[k] : a;
    __syncthreads();
    return a;
}

/* [1 3 3 1] squared, less four times the cell's own: the stencil has no centre. Row 2i - 2 + k is row
 * k - 2m of the four that reach cell m. */
#define SUM_CELLS(weight) \
    _Pragma("unroll") for (int k = 0; k < 2 * STRIP + 2; k++) { \
        const int row = 2 * i - 2 + k, first = AT(f, row, 2 * j - 2); \
        REAL e[4]; \
        _Pragma("unroll") for (int m = 0; m < 4; m++) \
            e[m] = GET(f.residual + first + m) * (weight); \
        const REAL centre = e[1] + e[2], across = e[0] + e[3] + 3 * centre; \
        const REAL middle = 3 * across - 4 * centre; \
        CELLS(m) { \
            if (k - 2 * m == 0 || k - 2 * m == 3) sums[m] += across; \
            if (k - 2 * m == 1 || k - 2 * m == 2) sums[m] += middle; \
        } \
    }

/* The residual of grid c, of what the first sweep of Jacobi from zero leaves at grid f: the means of
 * the neighbours' errors, summed over each missing cell. All fine cells of such a one are missing. At
 * twice the step, the same stencil is the equation of a residual four times as large; along a line a
 * cell has two members only. */
FUNCTION void restricted(Grid f, Grid c, int finest) {
    ALL_GLOBAL(f); ALL_GLOBAL(c);
    if (!finest) { GLOBAL(f.scale); }
    const REAL share = (REAL)((f.h == 1 || f.w == 1 ? 2 : 1) / 12.0);
    EACH_MISSING(c, {
        REAL sums[STRIP];
        CELLS(k) sums[k] = 0;
        if (!finest) { SUM_CELLS(GET(f.scale + first + m)) }
        else if (i > 1 && j > 1 && 2 * (i + STRIP) - 1 < f.h && 2 * j + 1 < f.w) { SUM_CELLS(1) }
        else { SUM_CELLS(inverse(f, row, 2 * j - 2 + m)) }
        CELLS(k) PUT(c.residual + PLACE(c, k), IF_MISSING(k, sums[k] * share));
    });
}

/* out = (residual + means of x) / diagonal; returns, of the finest grid, this thread's share of its
 * product with `product`. */
FUNCTION REAL smooth(Grid g, const HELD *x, HELD *out, int finest) {
    ALL_GLOBAL(g); GLOBAL(x); GLOBAL(out);
    if (finest) { GLOBAL(g.product); } else { GLOBAL(g.scale); }
    REAL sum = 0;
#define LOAD(p) GET(x + (p))
    EACH_MISSING(g, {
        REAL e[STRIP];
        REAL other[STRIP];
        MEANS(g, LOAD, e);
        CELLS(k) {
            other[k] = finest ? GET(g.product + PLACE(g, k)) : (REAL)0;
            e[k] += GET(g.residual + PLACE(g, k));
            e[k] = finest ? IF_MISSING(k, e[k]) : e[k] * GET(g.scale + PLACE(g, k));
        }
        if (finest && !inner(g, i, j)) CELLS(k) e[k] *= inverse(g, i + k, j);
        CELLS(k) sum += e[k] * other[k];
        CELLS(k) PUT(out + PLACE(g, k), e[k]);
    });
#undef LOAD
    return sum;
}

/* error = the first sweep of Jacobi from zero, and the interpolated error of the coarser grid c. */
FUNCTION void ascend(Grid g, Grid c, const HELD *coarse, int finest) {
    ALL_GLOBAL(g); GLOBAL(coarse);
    if (!finest) { GLOBAL(g.scale); }
#define LOAD(p) GET(coarse + (p))
    EACH_MISSING(g, {
        REAL e[STRIP];
        INTERPOLATED(c, LOAD, e);
        if (finest) {
            REAL r[STRIP];
            CELLS(k) r[k] = GET(g.residual + PLACE(g, k));
            if (!inner(g, i, j)) CELLS(k) r[k] *= inverse(g, i + k, j);
            CELLS(k) e[k] = IF_MISSING(k, e[k] + r[k]);
        } else {
            CELLS(k) {
                e[k] += GET(g.residual + PLACE(g, k)) * GET(g.scale + PLACE(g, k));
                e[k] = IF_MISSING(k, e[k]);
            }
        }
        CELLS(k) PUT(g.error + PLACE(g, k), e[k]);
    });
#undef LOAD
}

/* One V-cycle from zero about the residual of grid l >= 1. Returns the error, a field of grid l. The
 * first sweep is not stored on the way down. */
__device__ __noinline__ static HELD *cycle(const Grid *g, int l, int last) {
    for (int k = l; k < last; k++) restricted(g[k], g[k + 1], 0);
    const Grid c = g[last];
    EACH_MISSING(c, {
        REAL e[STRIP];
        CELLS(k) e[k] = GET(c.residual + PLACE(c, k)) * GET(c.scale + PLACE(c, k));
        CELLS(k) PUT(c.error + PLACE(c, k), e[k]);
    });
    HELD *from = c.error, *to = c.spare;
    for (int k = 0; k < SWEEPS; k++) {
        smooth(c, from, to, 0);
        HELD *kept = from;
        from = to;
        to = kept;
    }
    for (int n = last - 1; n >= l; n--) {
        const Grid f = g[n];
        ascend(f, g[n + 1], from, 0);
        smooth(f, f.error, f.spare, 0);
        from = f.spare;
        /* A second sweep saves the finest grid a cycle out of six at 224x224. Along a strip it
         * makes updates small before they are right. */
        if (f.h < 2 * f.w && f.w < 2 * f.h) {
            smooth(f, f.spare, f.error, 0);
            from = f.error;
        }
    }
    return from;
}

/* Likewise about the residual of the finest grid, into its `spare`. Returns this thread's share of
 * the error's product with `product`. */
FUNCTION REAL whole_cycle(const Grid *g, int last) {
    const Grid f = g[0];
    restricted(f, g[1], 1);
    ascend(f, g[1], cycle(g, 1, last), 1);
    return smooth(f, f.error, f.spare, 1);
}

/* What the equations lack, in units of `unit`. */
__device__ __noinline__ static void defect(const Grid *grid, REAL unit) {
    const Grid g = *grid;
    const REAL part = 1 / unit;
#define LOAD(p) g.value[p]
    EACH_MISSING(g, {
        REAL mean[STRIP];
        MEANS(g, LOAD, mean);
        CELLS(k) mean[k] -= diagonal(g, i + k, j) * g.value[PLACE(g, k)];
        CELLS(k) PUT(g.residual + PLACE(g, k), IF_MISSING(k, mean[k] * part));
    });
#undef LOAD
}

/* Grid c from the finer f: a cell is missing where all its fine ones are, else it has the mean of the
 * known. The zero of an error lies nearer to a missing cell the more of the cell beside it is known,
 * which weighs so much more in its diagonal (`spare` holds these weights for a moment). */
__device__ __noinline__ static void coarser(const Grid *fine, const Grid *coarse) {
    const Grid f = *fine, c = *coarse;
    const REAL near = f.h == 1 || f.w == 1 ? 2 * NEAR : NEAR;
    EACH(c, {
        int bits = 0;
        CELLS(k) {
            REAL sum = 0;
            int known = 0;
            if (i + k <= c.h) for (int p = 2 * (i + k) - 1; p <= 2 * (i + k) && p <= f.h; p++)
                for (int q = 2 * j - 1; q <= 2 * j && q <= f.w; q++) {
                    sum += f.value[AT(f, p, q)];
                    known += !(BITS(f, p, q) >> (p - 1) % STRIP & 1);
                }
            const int place = PLACE(c, k);
            c.value[place] = sum * (known == 4 ? (REAL)0.25 : known == 3 ? (REAL)(1.0 / 3) : known == 2 ? (REAL)0.5 : (REAL)1);
            PUT(c.spare + place, known ? FAR + near * known : (REAL)(i + k <= c.h));
            PUT(c.residual + place, 0);
            PUT(c.error + place, 0);
            PUT(c.scale + place, 0);
            bits |= (!known && i + k <= c.h) << k;
        }
        BITS(c, i, j) = bits;
    });
#define LOAD(p) GET(c.spare + (p))
    EACH_MISSING(c, {
        REAL mean[STRIP];
        MEANS(c, LOAD, mean);
        CELLS(k) PUT(c.scale + PLACE(c, k), IF_MISSING(k, 1 / mean[k]));
    });
#undef LOAD
    EACH(c, CELLS(k) PUT(c.spare + PLACE(c, k), 0););
}

/* value holds the known pixels of the finest grid and becomes the guess: holes are filled from ever
 * coarser averages of the known, and one cycle on each coarser grid improves what is handed on.
 * Returns whether anything is known. */
__device__ __noinline__ static int first_guess(const Grid *g, int last, REAL unit, REAL *room) {
    for (int l = 1; l <= last; l++) coarser(g + l - 1, g + l);
    REAL sum = 0, count = 0;
    {
        const Grid c = g[last];
        EACH(c, {
            const int bits = BITS(c, i, j);
            CELLS(k) if (i + k <= c.h && !(bits >> k & 1)) {
                sum += c.value[PLACE(c, k)];
                count += 1;
            }
        });
        total(&sum, &count, room);
        if (!(count > 0)) return 0;
        EACH_MISSING(c, CELLS(k) if (bits >> k & 1) c.value[PLACE(c, k)] = sum / count;);
    }
    for (int l = last; l >= 0; l--) {
        const Grid c = g[l];
        if (l < last) {
            const Grid d = g[l + 1];
#define LOAD(p) d.value[p]
            EACH_MISSING(c, {
                REAL coarse[STRIP];
                INTERPOLATED(d, LOAD, coarse);
                CELLS(k) if (bits >> k & 1) c.value[PLACE(c, k)] = coarse[k];
            });
#undef LOAD
        }
        defect(g + l, unit);
        if (l == 0) break;
        const HELD *error = cycle(g, l, last);
        EACH_MISSING(c, {
            REAL x[STRIP];
            CELLS(k) x[k] = c.value[PLACE(c, k)] + GET(error + PLACE(c, k)) * unit;
            CELLS(k) c.value[PLACE(c, k)] = x[k];
        });
    }
    return 1;
}

/* Conjugate gradients preconditioned by a cycle, from the guess to the solution. */
__device__ __noinline__ static void solve(const Grid *grids, int last, REAL unit, double tolerance,
                                          double least, double most, int cycles, REAL *room) {
    const Grid g = *grids;
    ALL_GLOBAL(g); GLOBAL(g.direction); GLOBAL(g.product);
    REAL energy = 1, step = 0, none = 0;
    double change = 0;
    for (int n = 0; n < cycles; n++) {
        /* At first direction and product are zero. */
        REAL overlap = whole_cycle(grids, last);
        total(&overlap, &none, room);
        overlap /= energy;
        const REAL last_step = step * unit;
        /* The new direction is made conjugate to the last one, whatever the rounding; what the
         * system makes of it follows by the same sum. The last step is taken while the last
         * direction is at hand. */
        REAL push = 0, pull = 0;
#define LOAD(p) GET(g.spare + (p))
        EACH_MISSING(g, {
            REAL x[STRIP];
            REAL r[STRIP];
            REAL p[STRIP];
            REAL q[STRIP];
            REAL along[STRIP];
            REAL made[STRIP];
            CELLS(k) x[k] = g.value[PLACE(g, k)];
            CELLS(k) r[k] = GET(g.residual + PLACE(g, k));
            CELLS(k) p[k] = GET(g.direction + PLACE(g, k));
            CELLS(k) q[k] = GET(g.product + PLACE(g, k));
            CELLS(k) along[k] = LOAD(PLACE(g, k));
            MEANS(g, LOAD, made);
            if (inner(g, i, j)) CELLS(k) made[k] = along[k] - made[k];
            else CELLS(k) made[k] = diagonal(g, i + k, j) * along[k] - made[k];
            CELLS(k) {
                made[k] = IF_MISSING(k, made[k] - overlap * q[k]);
                along[k] -= overlap * p[k];
                push += along[k] * made[k];
                pull += along[k] * r[k];
                x[k] += last_step * p[k];
            }
            CELLS(k) g.value[PLACE(g, k)] = x[k];
            CELLS(k) PUT(g.direction + PLACE(g, k), along[k]);
            CELLS(k) PUT(g.product + PLACE(g, k), made[k]);
        });
#undef LOAD
        total(&push, &pull, room);
        energy = push;
        step = 0;
        if (!(energy > 0)) break; /* nothing is missing, or the solution is exact */
        step = pull / energy;
        double before = change, square = (double)pull * step;
        change = square > 0 ? unit * sqrt(square) : 0;
        double ratio = change < most * before ? change / before : most;
        if (ratio < least) ratio = least;
        if (!(change * ratio / (1 - ratio) > tolerance)) break;
        EACH_MISSING(g, {
            REAL r[STRIP];
            CELLS(k) r[k] = GET(g.residual + PLACE(g, k)) - step * GET(g.product + PLACE(g, k));
            CELLS(k) PUT(g.residual + PLACE(g, k), r[k]);
        });
    }
    step *= unit;
    EACH_MISSING(g, {
        REAL x[STRIP];
        CELLS(k) x[k] = g.value[PLACE(g, k)] + step * GET(g.direction + PLACE(g, k));
        CELLS(k) g.value[PLACE(g, k)] = x[k];
    });
}

/* Places of the grids in a block's workspace; returns the last grid's number. */
__device__ static int lay_out(Grid *g, int h, int w, char *memory) {
    int last = 0;
    for (int rows = h, columns = w;; rows = (rows + 1) / 2, columns = (columns + 1) / 2, last++) {
        int least = rows < columns ? rows : columns, most = rows < columns ? columns : rows;
        int strips = 2 * ((rows + 2 * STRIP - 1) / (2 * STRIP));
        Grid *c = g + last;
        size_t row = columns + 2, places = row * (strips * STRIP + 2);
        HELD **fields[] = {&c->residual, &c->error, &c->spare, &c->scale, &c->product};
        c->h = rows, c->w = columns;
        if (!last) fields[3] = &c->direction, c->scale = 0;
        c->value = (REAL *)memory;
        memory += places * sizeof(REAL);
        for (int k = 0; k < (last ? 4 : 5); k++, memory += places * sizeof(HELD))
            *fields[k] = (HELD *)memory;
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
    if (threadIdx.x == 0) last = lay_out(grids, h, w, memory + (size_t)blockIdx.x * room * 16);
    __syncthreads();
    const Grid g = grids[0];
    const size_t pixels = (size_t)h * w;
    for (int item = blockIdx.x; item < count * colours; item += gridDim.x) {
        const int m = item / colours;
        const size_t from = ((size_t)rows[m] * colours + item % colours) * pixels;
        const unsigned char *gone = removed + m * pixels;
        const REAL *image = images + from;
        REAL *to = filled + (size_t)item * pixels;
        REAL unit = 0;
        EACH(g, {
            int bits = 0;
            CELLS(k) { /* also those below the last row: what is not finite would stay there */
                const int pixel = (i + k - 1) * w + j - 1;
                const int place = PLACE(g, k);
                const int inside = i + k <= h;
                const int lost = inside && gone[pixel];
                const REAL x = inside && !lost ? image[pixel] : (REAL)0;
                bits |= lost << k;
                g.value[place] = x;
                PUT(g.residual + place, 0);
                PUT(g.error + place, 0);
                PUT(g.spare + place, 0);
                PUT(g.direction + place, 0);
                PUT(g.product + place, 0);
                unit = x > unit ? x : -x > unit ? -x : unit;
            }
            BITS(g, i, j) = bits;
        });
        unit = largest(unit, sums);
        if (!(unit > 0)) unit = 1;
        if (first_guess(grids, last, unit, sums)) {
            solve(grids, last, unit, tolerance, least, most, cycles, sums);
        } else if (threadIdx.x == 0) {
            atomicMin(sound, m);
        }
        EACH(g, CELLS(k) if (i + k <= h) {
            const int pixel = (i + k - 1) * w + j - 1;
            REAL x = g.value[PLACE(g, k)];
            if (noisy && gone[pixel]) x += noise[from + pixel];
            to[pixel] = gone[pixel] ? x : image[pixel];
        });
    }
}

#ifdef __cplusplus
}
#endif

/* The CUDA engine of sycam/metrics/imputation.py: the algorithm of imputation.c, a block of threads
 * for one colour of one image, so that a whole batch is one launch. Compiled once for float and once
 * for double (REAL). As plain C it compiles too, with one thread a block: that is how it is tested
 * where there is no GPU.
 *
 * A grid of h x w cells lies in (h + 2) x (w + 2) places with a border of zeros. All fields but
 * `value` are zero where nothing is missing and are never written there: a warp whose pixels are all
 * known skips them. The threads of a warp run along a row. */
#ifdef __cplusplus
extern "C" {
#endif

#define LEVELS 16
#define COARSEST 8 /* cells along the shorter side at which coarsening ends, after one step at least */
#define SWEEPS 6   /* of Jacobi on the coarsest grid; even, so that it ends where it began */
#define FAR ((REAL)0.1)   /* weight of a cell beside a missing one: FAR + NEAR for each of its four */
#define NEAR ((REAL)0.35) /* that is known */
#ifndef LANES
#define LANES 32
#endif

typedef struct {
    int h, w;
    unsigned char *missing;
    REAL *value, *residual, *error, *spare;
    REAL *direction, *product; /* of conjugate gradients, at the finest grid */
    REAL *scale;               /* 1 / diagonal of the correction, at coarser grids */
} Grid;

#define AT(g, i, j) ((size_t)(i) * ((g)->w + 2) + (j))
/* The statements for each cell (i, j), counted from 1, and its place `at`; then all threads meet. */
#define EACH(g, ...) do { \
    for (int i = 1 + threadIdx.x / LANES; i <= (g)->h; i += (blockDim.x + LANES - 1) / LANES) \
        for (int j = 1 + threadIdx.x % LANES; j <= (g)->w; j += LANES) { \
            const size_t at = AT(g, i, j); \
            __VA_ARGS__ \
        } \
    __syncthreads(); } while (0)
#define EACH_MISSING(g, ...) EACH(g, if (!(g)->missing[at]) continue; __VA_ARGS__)

/* The sum of the weights of the neighbours inside the grid. */
__device__ static REAL diagonal(const Grid *g, int i, int j) {
    int y = (i > 1) + (i < g->h), x = (j > 1) + (j < g->w);
    return x + y == 4 ? (REAL)1 : (REAL)(2 * (x + y) + x * y) * (REAL)(1.0 / 12);
}

/* x over the diagonal of the correction: at the finest grid that is nearly everywhere x. */
__device__ static REAL divided(const Grid *g, int i, int j, REAL x) {
    if (g->scale) return x * g->scale[AT(g, i, j)];
    return i > 1 && j > 1 && i < g->h && j < g->w ? x : x / diagonal(g, i, j);
}

/* The weighted sum of the neighbours of the place `at`; outside counts zero. */
__device__ static REAL mean(const Grid *g, const REAL *x, size_t at) {
    const int row = g->w + 2;
    const REAL *up = x + at - row, *here = x + at, *down = x + at + row;
    return (up[0] + down[0] + here[-1] + here[1]) * (REAL)(1.0 / 6)
         + (up[-1] + up[1] + down[-1] + down[1]) * (REAL)(1.0 / 12);
}

/* Bilinear interpolation of the next coarser field to cell (i, j); nearest beyond its edge. */
__device__ static REAL interpolated(const Grid *c, const REAL *x, int i, int j) {
    int y = (i + 1) / 2, z = i % 2 ? y - 1 : y + 1, k = (j + 1) / 2, l = j % 2 ? k - 1 : k + 1;
    z = z < 1 ? 1 : z > c->h ? c->h : z;
    l = l < 1 ? 1 : l > c->w ? c->w : l;
    const REAL *near = x + AT(c, y, 0), *far = x + AT(c, z, 0);
    return (REAL)0.75 * ((REAL)0.75 * near[k] + (REAL)0.25 * near[l])
         + (REAL)0.25 * ((REAL)0.75 * far[k] + (REAL)0.25 * far[l]);
}

/* Sums of two numbers over the threads of a block, always in the same order; all threads get them. */
__device__ static void total(REAL *a, REAL *b, REAL *room) {
    int t = threadIdx.x;
    room[t] = *a;
    room[t + blockDim.x] = *b;
    __syncthreads();
    for (int s = blockDim.x / 2; s; s /= 2) {
        if (t < s) room[t] += room[t + s], room[t + blockDim.x] += room[t + blockDim.x + s];
        __syncthreads();
    }
    *a = room[0];
    *b = room[blockDim.x];
    __syncthreads();
}

/* One V-cycle from zero about the residual of grid l. The error is returned: a field of grid l.
 * The first sweep of Jacobi from zero is residual / diagonal; it is not stored on the way down. */
__device__ static REAL *cycle(Grid *g, int l, int last) {
    for (int k = l; k < last; k++) {
        const Grid *f = g + k;
        Grid *c = g + k + 1;
        EACH_MISSING(c, {
            /* What the sweep leaves: the mean of the neighbours' errors, summed over the cell. A
             * coarse cell is missing only where all of its fine ones are. */
            REAL sum = 0;
            for (int y = -2; y <= 1; y++) for (int x = -2; x <= 1; x++) {
                int p = 2 * i + y;
                int q = 2 * j + x;
                if (p < 1 || q < 1 || p > f->h || q > f->w) continue;
                REAL weight = (y == -2 || y == 1 ? 1 : 3) * (x == -2 || x == 1 ? 1 : 3);
                /* [1 3 3 1] squared, less four times the cell's own: the stencil has no centre. */
                if (y != -2 && y != 1 && x != -2 && x != 1) weight -= 4;
                sum += weight * divided(f, p, q, f->residual[AT(f, p, q)]);
            }
            c->residual[at] = sum * (REAL)(1.0 / 12);
        });
    }
    Grid *c = g + last;
    EACH_MISSING(c, c->error[at] = divided(c, i, j, c->residual[at]););
    REAL *from = c->error;
    REAL *to = c->spare;
    for (int k = 0; k < SWEEPS; k++) {
        EACH_MISSING(c, to[at] = divided(c, i, j, c->residual[at] + mean(c, from, at)););
        REAL *kept = from;
        from = to;
        to = kept;
    }
    for (int k = last - 1; k >= l; k--) {
        Grid *f = g + k;
        EACH_MISSING(f, {
            f->error[at] = divided(f, i, j, f->residual[at]) + interpolated(f + 1, from, i, j);
        });
        EACH_MISSING(f, {
            f->spare[at] = divided(f, i, j, f->residual[at] + mean(f, f->error, at));
        });
        from = f->spare;
    }
    return from;
}

__device__ static void defect(Grid *g) {
    EACH_MISSING(g, {
        g->residual[at] = mean(g, g->value, at) - diagonal(g, i, j) * g->value[at];
    });
}

/* value holds the known pixels of the finest grid and becomes the guess: holes are filled from ever
 * coarser averages of the known, and one cycle on each coarser grid improves what is handed on. The
 * zero of an error lies nearer to a missing cell the more of the cell beside it is known, which
 * weighs so much more in its diagonal (`spare` holds these weights for a moment). Returns whether
 * anything is known. */
__device__ static int first_guess(Grid *g, int last, REAL *room) {
    for (int l = 1; l <= last; l++) {
        const Grid *f = g + l - 1;
        Grid *c = g + l;
        EACH(c, {
            REAL sum = 0;
            int known = 0;
            for (int p = 2 * i - 1; p <= 2 * i && p <= f->h; p++)
                for (int q = 2 * j - 1; q <= 2 * j && q <= f->w; q++) {
                    sum += f->value[AT(f, p, q)];
                    known += !f->missing[AT(f, p, q)];
                }
            c->value[at] = known ? sum / known : 0;
            c->missing[at] = !known;
            c->spare[at] = known ? FAR + NEAR * known : 1;
            c->residual[at] = c->error[at] = c->scale[at] = 0;
        });
        EACH_MISSING(c, c->scale[at] = 1 / mean(c, c->spare, at););
        EACH(c, c->spare[at] = 0;);
    }
    Grid *c = g + last;
    REAL sum = 0;
    REAL count = 0;
    EACH(c, sum += c->value[at]; count += !c->missing[at];);
    total(&sum, &count, room);
    if (!(count > 0)) return 0;
    EACH_MISSING(c, c->value[at] = sum / count;);
    for (int l = last; l >= 0; l--) {
        c = g + l;
        if (l < last) EACH_MISSING(c, c->value[at] = interpolated(c + 1, c[1].value, i, j););
        defect(c);
        if (l == 0) break;
        const REAL *error = cycle(g, l, last);
        EACH_MISSING(c, c->value[at] += error[at];);
    }
    return 1;
}

/* Conjugate gradients preconditioned by a cycle, from the guess to the solution. */
__device__ static void solve(Grid *g, int last, double tolerance, double least, double most,
                             int cycles, REAL *room) {
    REAL energy = 1;
    double change = 0;
    for (int n = 0; n < cycles; n++) {
        const REAL *z = cycle(g, 0, last);
        REAL overlap = 0, none = 0;
        if (n) {
            EACH_MISSING(g, overlap += z[at] * g->product[at];);
            total(&overlap, &none, room);
            overlap /= energy;
        }
        /* The new direction is made conjugate to the last one, whatever the rounding; what the
         * system makes of it follows from the same sum. */
        REAL push = 0, pull = 0;
        EACH_MISSING(g, {
            REAL p = z[at] - overlap * g->direction[at];
            REAL q = diagonal(g, i, j) * z[at] - mean(g, z, at) - overlap * g->product[at];
            push += p * q;
            pull += p * g->residual[at];
            g->direction[at] = p;
            g->product[at] = q;
        });
        total(&push, &pull, room);
        energy = push;
        if (!(energy > 0)) break; /* nothing is missing, or the solution is exact */
        REAL step = pull / energy;
        EACH_MISSING(g, {
            g->value[at] += step * g->direction[at];
            g->residual[at] -= step * g->product[at];
        });
        double before = change, square = (double)pull * step;
        change = square > 0 ? sqrt(square) : 0;
        double ratio = change < most * before ? change / before : most;
        if (ratio < least) ratio = least;
        if (!(change * ratio / (1 - ratio) > tolerance)) break;
    }
}

/* Places of the grids in a block's workspace; returns the last grid's number. */
__device__ static int lay_out(Grid *g, int h, int w, char *memory) {
    int last = 0;
    for (int rows = h, columns = w;; rows = (rows + 1) / 2, columns = (columns + 1) / 2, last++) {
        int side = rows < columns ? rows : columns;
        Grid *c = g + last;
        size_t places = (size_t)(rows + 2) * (columns + 2);
        REAL **fields[] = {&c->value, &c->residual, &c->error, &c->spare, &c->scale, &c->product};
        c->h = rows, c->w = columns;
        if (!last) fields[4] = &c->direction, c->scale = 0;
        for (int k = 0; k < (last ? 5 : 6); k++, memory += places * sizeof(REAL))
            *fields[k] = (REAL *)memory;
        c->missing = (unsigned char *)memory;
        memory += (places + 15) / 16 * 16;
        if ((side <= COARSEST && (last || side <= COARSEST / 2)) || last == LEVELS - 1) return last;
    }
}

/* images: [any, colours, h, w], of which item m takes row rows[m]; removed: [count, h, w]; noise, or
 * nothing: like images; filled: [count, colours, h, w]. memory: `room` bytes a block, all zero.
 * sound becomes the least m with no known pixel. */
__global__ void __launch_bounds__(1024) impute(const REAL *images, const long long *rows, const unsigned char *removed,
                       const REAL *noise, REAL *filled, int *sound, char *memory, int room,
                       int count, int colours, int h, int w, int noisy, double tolerance,
                       double least, double most, int cycles) {
    __shared__ Grid grids[LEVELS];
    __shared__ int last;
    __shared__ REAL sums[2048];
    Grid *g = grids;
    if (threadIdx.x == 0) last = lay_out(g, h, w, memory + (size_t)blockIdx.x * room);
    __syncthreads();
    const size_t pixels = (size_t)h * w;
    for (int item = blockIdx.x; item < count * colours; item += gridDim.x) {
        const int m = item / colours;
        const size_t from = ((size_t)rows[m] * colours + item % colours) * pixels;
        const unsigned char *gone = removed + m * pixels;
        const REAL *image = images + from;
        REAL *to = filled + (size_t)item * pixels;
        EACH(g, {
            const size_t pixel = (size_t)(i - 1) * w + j - 1;
            g->missing[at] = gone[pixel];
            g->value[at] = gone[pixel] ? (REAL)0 : image[pixel];
            g->residual[at] = g->error[at] = g->spare[at] = 0;
            g->direction[at] = g->product[at] = 0;
        });
        if (first_guess(g, last, sums)) solve(g, last, tolerance, least, most, cycles, sums);
        else if (threadIdx.x == 0) atomicMin(sound, m);
        EACH(g, {
            const size_t pixel = (size_t)(i - 1) * w + j - 1;
            REAL x = g->value[at];
            if (noisy && gone[pixel]) x += noise[from + pixel];
            to[pixel] = gone[pixel] ? x : image[pixel];
        });
    }
}

#ifdef __cplusplus
}
#endif

/* What sycam/metrics/removal/pixel_ranks.py does in torch operations, one heatmap after the
 * other, so that it stays in the caches. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DIGIT 11 /* bits sorted by at once */
#define BINS (1 << DIGIT)
#define PASSES 3
#define FEW 48 /* items that are sorted by insertion */

typedef struct {
    uint32_t key;
    int32_t pixel;
} Item;

/* Two lists of as many items as there are pixels, and the counts of each digit. */
typedef struct {
    Item *items, *spare;
    int32_t (*count)[BINS];
} Desk;

static int open_desk(Desk *d, int pixels) {
    d->items = malloc(sizeof(Item) * pixels);
    d->spare = malloc(sizeof(Item) * pixels);
    d->count = malloc(sizeof(int32_t) * PASSES * BINS);
    return d->items && d->spare && d->count;
}

static void close_desk(Desk *d) {
    free(d->items);
    free(d->spare);
    free(d->count);
}

/* Least for the largest value: floats that are not negative are in the order of their bits. */
static inline uint32_t key_of(float value) {
    uint32_t bits;
    value = value > 0 ? value : 0;
    memcpy(&bits, &value, sizeof bits);
    return ~bits;
}

/* The pixels of `from`, n of them, in descending order of their values, those of equal ones as they
 * were: a radix sort from the last digit of the keys to the first. */
static const Item *sort(Desk *d, const float *values, const int32_t *from, int n) {
    if (n <= FEW) {
        for (int i = 0; i < n; i++) {
            Item item = {key_of(values[from[i]]), from[i]};
            int k = i;
            for (; k && d->items[k - 1].key > item.key; k--) d->items[k] = d->items[k - 1];
            d->items[k] = item;
        }
        return d->items;
    }
    memset(d->count, 0, sizeof(int32_t) * PASSES * BINS);
    for (int i = 0; i < n; i++) {
        uint32_t key = key_of(values[from[i]]);
        d->items[i] = (Item){key, from[i]};
        for (int k = 0; k < PASSES; k++) d->count[k][key >> k * DIGIT & (BINS - 1)]++;
    }
    for (int k = 0; k < PASSES; k++) {
        int32_t *place = d->count[k], before = 0;
        Item *items = d->items, *sorted = d->spare;
        for (int digit = 0; digit < BINS; digit++) {
            int32_t here = place[digit];
            place[digit] = before;
            before += here;
        }
        for (int i = 0; i < n; i++) sorted[place[items[i].key >> k * DIGIT & (BINS - 1)]++] = items[i];
        d->items = sorted, d->spare = items;
    }
    return d->items;
}

/* order: [rows, pixels] the pixels in descending order of the values [rows, pixels], where they are
 * equal as in the order start[r % starts]; ranks: its inverse; same: [rows, pixels], 1 where the
 * value at that place of the order is that of the one before. Returns 0, or -1 where there is no
 * memory. */
int rank(const float *values, const int32_t *start, int32_t *order, int32_t *ranks, uint8_t *same,
         int rows, int starts, int pixels, int threads) {
    int sound = 0;
    (void)threads; /* without OpenMP */
#pragma omp parallel num_threads(threads) reduction(min : sound)
    {
        Desk desk;
        int room = open_desk(&desk, pixels);
#pragma omp for schedule(dynamic)
        for (int r = 0; r < rows; r++) if (room) {
            size_t at = (size_t)r * pixels;
            const Item *items = sort(&desk, values + at, start + (size_t)(r % starts) * pixels, pixels);
            for (int i = 0; i < pixels; i++) {
                order[at + i] = items[i].pixel;
                ranks[at + items[i].pixel] = i;
                same[at + i] = i && items[i].key == items[i - 1].key;
            }
        }
        sound = room ? 0 : -1;
        close_desk(&desk);
    }
    return sound;
}

/* Order and ranks where pixels of the same value go by descending `seconds` [rows, pixels] first. */
int rank_same(const float *seconds, const uint8_t *same, int32_t *order, int32_t *ranks,
              int rows, int pixels, int threads) {
    int sound = 0;
    (void)threads;
#pragma omp parallel num_threads(threads) reduction(min : sound)
    {
        Desk desk;
        int room = open_desk(&desk, pixels);
#pragma omp for schedule(dynamic)
        for (int r = 0; r < rows; r++) if (room) {
            size_t at = (size_t)r * pixels;
            for (int first = 0, end; first < pixels; first = end) {
                for (end = first + 1; end < pixels && same[at + end];) end++;
                if (end == first + 1) continue;
                const Item *items = sort(&desk, seconds + at, order + at + first, end - first);
                for (int i = first; i < end; i++) {
                    order[at + i] = items[i - first].pixel;
                    ranks[at + order[at + i]] = i;
                }
            }
        }
        sound = room ? 0 : -1;
        close_desk(&desk);
    }
    return sound;
}

/* keys: [rows, masks] the sums of the tokens of the pixels whose rank lies from bounds[r][m][0] to
 * before bounds[r][m][1], and of the last token; tokens: [images, pixels + 1], row r takes those of
 * r % images. Returns 0, or -1 where there is no memory. */
int mask_keys(const int32_t *ranks, const uint64_t *tokens, const int32_t *bounds, uint64_t *keys,
              int rows, int images, int masks, int pixels, int threads) {
    int sound = 0;
    (void)threads;
#pragma omp parallel num_threads(threads) reduction(min : sound)
    {
        uint64_t *sums = malloc(sizeof(uint64_t) * (pixels + 1));
#pragma omp for
        for (int r = 0; r < rows; r++) if (sums) {
            const int32_t *rank = ranks + (size_t)r * pixels;
            const uint64_t *token = tokens + (size_t)(r % images) * (pixels + 1);
            sums[0] = 0;
            for (int i = 0; i < pixels; i++) sums[rank[i] + 1] = token[i];
            for (int i = 0; i < pixels; i++) sums[i + 1] += sums[i];
            for (int m = 0; m < masks; m++) {
                size_t at = (size_t)r * masks + m;
                keys[at] = sums[bounds[2 * at + 1]] - sums[bounds[2 * at]] + token[pixels];
            }
        }
        sound = sums ? 0 : -1;
        free(sums);
    }
    return sound;
}

/* removed: [masks, pixels], 1 where the rank in row rows[m] lies from bounds[m][0] to before
 * bounds[m][1]. Returns 0. */
int between(const int32_t *ranks, const int64_t *rows, const int32_t *bounds, uint8_t *removed,
            int masks, int pixels, int threads) {
    (void)threads;
#pragma omp parallel for num_threads(threads)
    for (int m = 0; m < masks; m++) {
        const int32_t *restrict rank = ranks + rows[m] * pixels;
        uint8_t *restrict out = removed + (size_t)m * pixels;
        int32_t low = bounds[2 * m], high = bounds[2 * m + 1];
        uint32_t first = low, count = high > low ? high - low : 0;
        for (int i = 0; i < pixels; i++) out[i] = (uint32_t)rank[i] - first < count;
    }
    return 0;
}

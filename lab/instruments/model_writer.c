/*
 * Writes at random places of a block device, keeps in memory what the device must hold, and compares every read.
 *
 *     model_writer [-s SECONDS] [-r SEED] [-b BLOCKS] [-t FILE] DEVICE [FINAL_DEVICE...]
 *
 * First the whole device is read, or its first BLOCKS of 4 KiB, beyond which nothing is touched: that is the model. Then,
 * until the time is over or SIGTERM or SIGINT comes, a write of one to four blocks of 4 KiB and a read of one to four
 * blocks elsewhere follow each other, all O_DIRECT, so that what is compared comes from the device. At the end the device
 * and each FINAL_DEVICE (which must be as large) are read as far as the model goes, and compared. Output is one JSON
 * object a line, flushed at once:
 *     {"event":"loaded","blocks":N}
 *     {"event":"mismatch","at":SECONDS,"block":N}           a read that differs from the model, the first 20 of them
 *     {"event":"error","at":SECONDS,"operation":"write|read","block":N,"errno":N}
 *     {"event":"result","seconds":S,"writes":N,"reads":N,"mismatches":N,"errors":N,"longest_write":S,"longest_read":S}
 *     {"event":"final","device":PATH,"mismatches":N,"errors":N}
 * FILE gets every request, one a line, when the writing is over: its begin (seconds since 1970), how long it took in
 * seconds, `w` or `r`. Until then they are kept in memory; those beyond the first million are not reported.
 * A block whose write failed may hold the old or the new content; it is not compared until it is written again.
 * Exit status: 0 all as written, 1 something was lost or failed, 2 it could not work at all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, MOST_BLOCKS = 4, CHUNK_BLOCKS = 16, MOST_REPORTED = 20, MOST_TIMED = 1000000 };

static volatile sig_atomic_t stopped;
static uint64_t state = 88172645463325252ULL;
static struct timespec began;

static void stop(int number) { (void)number; stopped = 1; }

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began.tv_sec) + (double)(now.tv_nsec - began.tv_nsec) / 1e9;
}

/* xorshift64, G. Marsaglia 2003 */
static uint64_t draw(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void fail(const char *what, const char *which) {
    fprintf(stderr, "model_writer: %s %s: %s\n", what, which, strerror(errno));
    exit(2);
}

static int open_device(const char *path, int flags, uint64_t *blocks) {
    int device = open(path, flags | O_DIRECT | O_CLOEXEC);
    uint64_t bytes;
    struct stat status;
    if (device < 0 || fstat(device, &status) < 0) fail("cannot open", path);
    if (S_ISREG(status.st_mode)) bytes = (uint64_t)status.st_size;
    else if (ioctl(device, BLKGETSIZE64, &bytes) < 0) fail("cannot read the size of", path);
    *blocks = bytes / BLOCK;
    return device;
}

static void print_error(const char *operation, uint64_t block) {
    printf("{\"event\":\"error\",\"at\":%.3f,\"operation\":\"%s\",\"block\":%llu,\"errno\":%d}\n", seconds(), operation,
           (unsigned long long)block, errno);
}

struct timed {
    double at;
    float took;
    char operation;
};

struct work {
    int device;
    uint64_t blocks;
    unsigned char *model, *buffer, *unknown; /* unknown: one byte a block, 1 after a failed write */
    uint64_t writes, reads, mismatches, errors;
    double longest_write, longest_read;
    struct timed *timed; /* null: nobody wants to know */
    size_t timed_count;
};

static uint64_t draw_place(const struct work *work, size_t *count) {
    uint64_t block = draw() % work->blocks;
    *count = 1 + draw() % MOST_BLOCKS;
    if (block + *count > work->blocks) *count = work->blocks - block;
    return block;
}

static void note(struct work *work, double begin, double took, char operation, double *longest) {
    if (took > *longest) *longest = took;
    if (!work->timed || work->timed_count == MOST_TIMED) return;
    work->timed[work->timed_count++] = (struct timed){begin, (float)took, operation};
}

static void write_somewhere(struct work *work) {
    size_t count;
    uint64_t block = draw_place(work, &count);
    for (size_t at = 0; at < count * BLOCK; at += 8) {
        uint64_t word = draw();
        memcpy(work->buffer + at, &word, 8);
    }
    double begin = seconds();
    ssize_t done = pwrite(work->device, work->buffer, count * BLOCK, (off_t)(block * BLOCK));
    note(work, begin, seconds() - begin, 'w', &work->longest_write);
    work->writes++;
    int failed = done != (ssize_t)(count * BLOCK);
    if (failed) {
        if (++work->errors <= MOST_REPORTED) print_error("write", block);
        usleep(100000);
    } else {
        memcpy(work->model + block * BLOCK, work->buffer, count * BLOCK);
    }
    memset(work->unknown + block, failed, count);
}

static void compare(struct work *work, uint64_t block) {
    if (work->unknown[block] || !memcmp(work->buffer, work->model + block * BLOCK, BLOCK)) return;
    if (++work->mismatches <= MOST_REPORTED)
        printf("{\"event\":\"mismatch\",\"at\":%.3f,\"block\":%llu}\n", seconds(), (unsigned long long)block);
}

static void read_somewhere(struct work *work) {
    size_t count;
    uint64_t block = draw_place(work, &count);
    double begin = seconds();
    ssize_t done = pread(work->device, work->buffer, count * BLOCK, (off_t)(block * BLOCK));
    note(work, begin, seconds() - begin, 'r', &work->longest_read);
    work->reads++;
    if (done != (ssize_t)(count * BLOCK)) {
        if (++work->errors <= MOST_REPORTED) print_error("read", block);
        usleep(100000);
        return;
    }
    unsigned char *start = work->buffer;
    for (size_t at = 0; at < count; at++, work->buffer += BLOCK) compare(work, block + at);
    work->buffer = start;
}

static int compare_whole(struct work *work, const char *path) {
    uint64_t there, blocks = work->blocks, mismatches = 0, errors = 0;
    int device = open_device(path, O_RDONLY, &there);
    if (there < blocks) {
        errno = ENOSPC;
        fail("smaller than the model", path);
    }
    for (uint64_t block = 0; block < blocks; block += CHUNK_BLOCKS) {
        size_t count = blocks - block < CHUNK_BLOCKS ? blocks - block : CHUNK_BLOCKS;
        if (pread(device, work->buffer, count * BLOCK, (off_t)(block * BLOCK)) != (ssize_t)(count * BLOCK)) {
            if (++errors <= MOST_REPORTED) print_error("read", block);
            continue;
        }
        for (size_t at = 0; at < count; at++)
            mismatches += !work->unknown[block + at] &&
                          memcmp(work->buffer + at * BLOCK, work->model + (block + at) * BLOCK, BLOCK);
    }
    close(device);
    printf("{\"event\":\"final\",\"device\":\"%s\",\"mismatches\":%llu,\"errors\":%llu}\n", path,
           (unsigned long long)mismatches, (unsigned long long)errors);
    return mismatches || errors;
}

static void load(struct work *work, const char *path, uint64_t most_blocks) {
    work->device = open_device(path, O_RDWR, &work->blocks);
    if (most_blocks && most_blocks < work->blocks) work->blocks = most_blocks;
    if (!work->blocks) {
        errno = ENOSPC;
        fail("not one block on", path);
    }
    work->model = malloc(work->blocks * BLOCK);
    work->unknown = calloc(work->blocks, 1);
    if (!work->model || !work->unknown || posix_memalign((void **)&work->buffer, BLOCK, CHUNK_BLOCKS * BLOCK))
        fail("no memory for the model of", path);
    for (uint64_t block = 0; block < work->blocks; block += CHUNK_BLOCKS) {
        size_t count = work->blocks - block < CHUNK_BLOCKS ? work->blocks - block : CHUNK_BLOCKS;
        if (pread(work->device, work->buffer, count * BLOCK, (off_t)(block * BLOCK)) != (ssize_t)(count * BLOCK))
            fail("cannot read", path);
        memcpy(work->model + block * BLOCK, work->buffer, count * BLOCK);
    }
    /* A page fault of our own must not count as a stall of the device; without the right to lock, it may. */
    mlockall(MCL_CURRENT | MCL_FUTURE);
}

/* The clock by which machines date what they log, against ours. */
static double epoch_began(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9 - seconds();
}

static void tell_times(const struct work *work, const char *path) {
    double base = epoch_began();
    FILE *file = fopen(path, "we");
    if (!file) fail("cannot write", path);
    for (size_t at = 0; at < work->timed_count; at++)
        fprintf(file, "%.6f %.6f %c\n", base + work->timed[at].at, (double)work->timed[at].took,
                work->timed[at].operation);
    if (fclose(file)) fail("cannot write", path);
}

int main(int count, char **words) {
    double limit = 0;
    uint64_t most_blocks = 0;
    const char *times = NULL;
    int option;
    while ((option = getopt(count, words, "s:r:b:t:")) != -1) {
        if (option == 's') limit = atof(optarg);
        else if (option == 'r') state += strtoull(optarg, NULL, 10);
        else if (option == 'b') most_blocks = strtoull(optarg, NULL, 10);
        else if (option == 't') times = optarg;
        else return 2;
    }
    if (optind >= count) {
        fprintf(stderr, "usage: model_writer [-s SECONDS] [-r SEED] [-b BLOCKS] [-t FILE] DEVICE [FINAL_DEVICE...]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    struct work work = {0};
    if (times && !(work.timed = calloc(MOST_TIMED, sizeof *work.timed))) fail("no memory for", times);
    load(&work, words[optind], most_blocks);
    printf("{\"event\":\"loaded\",\"blocks\":%llu}\n", (unsigned long long)work.blocks);
    clock_gettime(CLOCK_MONOTONIC, &began);
    while (!stopped && (limit == 0 || seconds() < limit)) {
        write_somewhere(&work);
        read_somewhere(&work);
    }
    printf("{\"event\":\"result\",\"seconds\":%.3f,\"writes\":%llu,\"reads\":%llu,\"mismatches\":%llu,\"errors\":%llu,"
           "\"longest_write\":%.4f,\"longest_read\":%.4f}\n",
           seconds(), (unsigned long long)work.writes, (unsigned long long)work.reads,
           (unsigned long long)work.mismatches, (unsigned long long)work.errors, work.longest_write, work.longest_read);
    if (times) tell_times(&work, times);
    int bad = work.mismatches || work.errors;
    for (int at = optind; at < count; at++) bad |= compare_whole(&work, words[at]);
    return bad;
}

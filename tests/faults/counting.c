/* Counts the calls that change files below FAULT_FOLDER, and lets the FAULT_AT-th one go wrong.

   Loaded before the C library (LD_PRELOAD). The count is kept in the file FAULT_COUNT, so that
   processes count together. FAULT_KIND says what happens at that call:

   kill   the process gets SIGKILL, in a write when half of the bytes are written
   data   the power fails: what no fsync has covered is lost, names are there; then SIGKILL
   names  the power fails: renames that no fsync of their folder has covered are undone; SIGKILL
   <n>    this call and all later ones fail with errno n

   FAULT_CLOCK is added to the time of day, in seconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, #name)

enum { MANY = 256 };
static char unsynced[MANY][PATH_MAX];
static struct { char from[PATH_MAX], to[PATH_MAX], old[PATH_MAX]; } renamed[MANY];

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int is(const char *kind) {
    const char *value = setting("FAULT_KIND");
    return value && !strcmp(value, kind);
}

static int below(const char *path) {
    const char *folder = setting("FAULT_FOLDER");
    size_t length = folder ? strlen(folder) : 0;
    return folder && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static int path_of(int file, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return length > 0 && below(path);
}

static void whole_path(int folder, const char *path, char whole[PATH_MAX]) {
    char base[PATH_MAX] = "", link[64];
    if (*path != '/') {
        snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, PATH_MAX - 2);
        base[length < 0 ? 0 : length] = 0;
        strcat(base, "/");
    }
    snprintf(whole, PATH_MAX, "%s%s", base, path);
}

static void note_unsynced(const char *path, int written) {
    char *free_place = NULL;
    for (int i = 0; i < MANY; i++) {
        if (!strcmp(unsynced[i], path)) {
            if (!written) unsynced[i][0] = 0;
            return;
        }
        if (!unsynced[i][0] && !free_place) free_place = unsynced[i];
    }
    if (written && free_place) strcpy(free_place, path);
}

static void note_renamed(const char *from, const char *to) {
    for (int i = 0; i < MANY; i++)
        if (!strcmp(unsynced[i], from)) strcpy(unsynced[i], to);
    if (!is("names")) return;
    for (int i = 0; i < MANY; i++)
        if (!renamed[i].to[0]) {
            strcpy(renamed[i].from, from);
            strcpy(renamed[i].to, to);
            snprintf(renamed[i].old, PATH_MAX, "%s-%d-%d", setting("FAULT_COUNT"), getpid(), i);
            unlink(renamed[i].old);
            if (link(to, renamed[i].old)) renamed[i].old[0] = 0;
            return;
        }
}

static void note_synced_folder(const char *folder) {
    char parent[PATH_MAX];
    for (int i = 0; i < MANY; i++) {
        strcpy(parent, renamed[i].to);
        if (parent[0] && !strcmp(dirname(parent), folder)) {
            unlink(renamed[i].old);
            renamed[i].to[0] = 0;
        }
    }
}

static void die(void) {
    static int (*real)(const char *, const char *);
    real = dlsym(RTLD_NEXT, "rename");
    for (int i = 0; i < MANY && is("data"); i++)
        if (unsynced[i][0]) truncate(unsynced[i], 0);
    for (int i = MANY - 1; i >= 0 && is("names"); i--)
        if (renamed[i].to[0]) {
            real(renamed[i].to, renamed[i].from);
            if (renamed[i].old[0]) real(renamed[i].old, renamed[i].to);
        }
    kill(getpid(), SIGKILL);
    pause();
}

/* Count a call; the errno with which it fails, 0 if it is carried out, -1 if the process dies. */
static int counted(void) {
    static unsigned long *count;
    const char *file = setting("FAULT_COUNT"), *at = setting("FAULT_AT");
    if (!file) return 0;
    if (!count) {
        int handle = open(file, O_RDWR);
        void *page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0);
        close(handle);
        if (page == MAP_FAILED) return 0;
        count = page;
    }
    unsigned long now = __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST), wanted = at ? atol(at) : 0;
    if (!wanted || now < wanted) return 0;
    int error = atoi(setting("FAULT_KIND"));
    return error ? error : now == wanted ? -1 : 0;
}

#define FAIL_OR_DIE(fault) \
    if (fault > 0) { errno = fault; return -1; } \
    if (fault < 0) die()

#define WRITE(name, more, ...) \
    ssize_t name(int file, const void *data, size_t size more) { \
        REAL(ssize_t, name, int, const void *, size_t more); \
        char path[PATH_MAX]; \
        if (path_of(file, path)) { \
            int fault = counted(); \
            note_unsynced(path, 1); \
            if (fault < 0) real(file, data, size / 2 __VA_ARGS__); \
            FAIL_OR_DIE(fault); \
        } \
        return real(file, data, size __VA_ARGS__); \
    }
#define COMMA ,
WRITE(write, )
WRITE(pwrite, COMMA off_t at, COMMA at)
WRITE(pwrite64, COMMA off64_t at, COMMA at)

ssize_t writev(int file, const struct iovec *parts, int number) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    char path[PATH_MAX];
    if (path_of(file, path)) {
        int fault = counted();
        note_unsynced(path, 1);
        FAIL_OR_DIE(fault);
    }
    return real(file, parts, number);
}

#define TRUNCATE(name, type) \
    int name(int file, type size) { \
        REAL(int, name, int, type); \
        char path[PATH_MAX]; \
        if (path_of(file, path)) { \
            int fault = counted(); \
            FAIL_OR_DIE(fault); \
            note_unsynced(path, 1); \
        } \
        return real(file, size); \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name) \
    int name(int file) { \
        REAL(int, name, int); \
        char path[PATH_MAX]; \
        if (path_of(file, path)) { \
            int fault = counted(); \
            FAIL_OR_DIE(fault); \
            note_unsynced(path, 0); \
            note_synced_folder(path); \
        } \
        return real(file); \
    }
SYNC(fsync)
SYNC(fdatasync)

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    REAL(int, renameat2, int, const char *, int, const char *, unsigned);
    char whole_from[PATH_MAX], whole_to[PATH_MAX];
    whole_path(from_folder, from, whole_from);
    whole_path(to_folder, to, whole_to);
    if (below(whole_to)) {
        int fault = counted();
        FAIL_OR_DIE(fault);
        note_renamed(whole_from, whole_to);
    }
    return real(from_folder, from, to_folder, to, flags);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return renameat2(from_folder, from, to_folder, to, 0);
}

int rename(const char *from, const char *to) {
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

static time_t shift(void) {
    const char *seconds = setting("FAULT_CLOCK");
    return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(int, clock_gettime, clockid_t, struct timespec *);
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    REAL(int, gettimeofday, struct timeval *, void *);
    int failed = real(now, zone);
    now->tv_sec += shift();
    return failed;
}

time_t time(time_t *told) {
    REAL(time_t, time, time_t *);
    time_t now = real(NULL) + shift();
    if (told) *told = now;
    return now;
}

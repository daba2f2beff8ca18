/* A disk that fails or is slow, for one process: preloaded, it stands before the C library's file calls.

   The environment's FAULTY_DISK names a file of one line, which is read at each call, so that a test can change it:

     write 30 PATH     calls that would change anything below PATH fail with errno 30 (EROFS)
     read 5 PATH       opening anything below PATH to be read fails with errno 5 (EIO)
     delay 200 PATH    calls that change anything below PATH take 200 ms longer

   Where there is no such file, or it is empty, nothing is changed. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct fault {
    char kind[8], below[PATH_MAX];
    int value;
};

static int read_fault(struct fault *fault) {
    const char *name = getenv("FAULTY_DISK");
    char line[PATH_MAX + 32];
    if (!name) return 0;
    int file = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t size = syscall(SYS_read, file, line, sizeof line - 1);
    syscall(SYS_close, file);
    if (size <= 0) return 0;
    line[size] = 0;
    return sscanf(line, "%7s %d %4095s", fault->kind, &fault->value, fault->below) == 3;
}

/* The path of a file that is open; or of `name` in the folder that is, unless it is absolute already. */
static void full_path(char *full, int number, const char *name) {
    char link[64], folder[PATH_MAX] = "";
    if (name && name[0] == '/') {
        snprintf(full, PATH_MAX, "%s", name);
        return;
    }
    if (number == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", number);
    ssize_t size = readlink(link, folder, sizeof folder - 1);
    if (size > 0) folder[size] = 0;
    if (snprintf(full, PATH_MAX, name ? "%s/%s" : "%s", folder, name) >= PATH_MAX) full[0] = 0;
}

/* Whether the call is to fail, with errno set; a slow one waits in here. */
static int breaks(const char *doing, int number, const char *name) {
    struct fault fault;
    char path[PATH_MAX];
    int before = errno;
    if (!read_fault(&fault)) return errno = before, 0;
    full_path(path, number, name);
    errno = before;
    if (strncmp(path, fault.below, strlen(fault.below))) return 0;
    if (!strcmp(doing, "write") && !strcmp(fault.kind, "delay")) {
        struct timespec time = {fault.value / 1000, fault.value % 1000 * 1000000L};
        nanosleep(&time, NULL);
        return errno = before, 0;
    }
    if (strcmp(doing, fault.kind)) return 0;
    return errno = fault.value, 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define CHANGES(type, name, parameters, arguments, number, path) \
    type name parameters { return breaks("write", number, path) ? -1 : REAL(name) arguments; }

#define OPENS(name, parameters, arguments, number, path) \
    int name parameters { \
        int mode = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, int); \
            va_end(more); \
        } \
        int writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC); \
        return breaks(writes ? "write" : "read", number, path) ? -1 : REAL(name) arguments; \
    }

OPENS(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD, path)
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD, path)
OPENS(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode), folder, path)
OPENS(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode), folder, path)

CHANGES(ssize_t, write, (int file, const void *bytes, size_t size), (file, bytes, size), file, NULL)
CHANGES(ssize_t, pwrite, (int file, const void *bytes, size_t size, off_t at), (file, bytes, size, at), file, NULL)
CHANGES(ssize_t, pwrite64, (int file, const void *bytes, size_t size, off64_t at), (file, bytes, size, at), file, NULL)
CHANGES(int, ftruncate, (int file, off_t size), (file, size), file, NULL)
CHANGES(int, ftruncate64, (int file, off64_t size), (file, size), file, NULL)
CHANGES(int, fsync, (int file), (file), file, NULL)
CHANGES(int, mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
CHANGES(int, mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), folder, path)
CHANGES(int, rename, (const char *from, const char *to), (from, to), AT_FDCWD, from)
CHANGES(int, renameat, (int from, const char *a, int to, const char *b), (from, a, to, b), from, a)
CHANGES(int, unlink, (const char *path), (path), AT_FDCWD, path)
CHANGES(int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags), folder, path)
CHANGES(int, rmdir, (const char *path), (path), AT_FDCWD, path)

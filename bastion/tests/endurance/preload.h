/* For tests: the file that a test shares with the library it has loaded into bastion. */
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* Mapped; NULL where this process may not open it. */
static void *shared(int mode, int protection, size_t size) {
    int file = open(SHARED, mode | O_CLOEXEC);
    if (file < 0)
        return NULL;
    void *mapped = mmap(NULL, size, protection, MAP_SHARED, file, 0);
    close(file);
    return mapped == MAP_FAILED ? NULL : mapped;
}

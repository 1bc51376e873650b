/* For tests: loaded into every part of bastion, it puts the wall clock off by as many seconds as a
 * file says that all of them share. The other clocks go on, as when the real one is set. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <time.h>

#include "preload.h"

static const volatile int64_t *offset;
static int (*real)(clockid_t, struct timespec *);

/* Before main, and so before the gate's fence. */
__attribute__((constructor)) static void begin(void) {
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    offset = shared(O_RDONLY, PROT_READ, sizeof *offset);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real)
        begin();
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && offset)
        now->tv_sec += *offset;
    return result;
}

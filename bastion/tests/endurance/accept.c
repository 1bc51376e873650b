/* For tests: loaded into every part of bastion, it has accept4(2) fail, with the error and as many
 * times as a file says that all of them share. accept(2) is left alone: the gate's fence forbids it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "preload.h"

struct fault {
    atomic_int error;
    atomic_int left;
};

static struct fault *fault;
static int (*real)(int, struct sockaddr *, socklen_t *, int);

/* Before main, and so before the gate's fence. */
__attribute__((constructor)) static void begin(void) {
    real = (int (*)(int, struct sockaddr *, socklen_t *, int))dlsym(RTLD_NEXT, "accept4");
    fault = shared(O_RDWR, PROT_READ | PROT_WRITE, sizeof *fault);
}

/* Whether this call is one of those that fail. */
static int strikes(void) {
    int left = fault ? atomic_load(&fault->left) : 0;
    while (left > 0 && !atomic_compare_exchange_weak(&fault->left, &left, left - 1))
        ;
    return left > 0;
}

int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags) {
    int error = fault ? atomic_load(&fault->error) : 0;
    /* A connection that was aborted is gone; with any other error it stays in the queue. */
    int aborted = error == ECONNABORTED;
    if (!aborted && strikes()) {
        errno = error;
        return -1;
    }
    int accepted = real(listener, address, length, flags);
    if (aborted && accepted >= 0 && strikes()) {
        close(accepted);
        errno = error;
        return -1;
    }
    return accepted;
}

/* Eight threads stop one engine, wait for it, read from it and free it at the
 * same time, and start and free engines of their own. */
#include "check.h"

static runsd_engine *shared;
static pthread_barrier_t together;

static void *everything(void *number) {
    intptr_t mine = (intptr_t)number;
    pthread_barrier_wait(&together);
    runsd_engine *own = mine % 2 ? start_plain() : NULL;
    runsd_stats stats = {.size = sizeof stats};
    char address[64];
    CHECK(runsd_get_stats(shared, &stats) == RUNSD_OK);
    CHECK(runsd_proxy_addr(shared, 0, address, sizeof address) > 0);
    runsd_stop_report report = {.size = sizeof report, .aborted = 7};
    if (mine % 4 == 0)
        CHECK(runsd_wait(shared, -1, NULL) == RUNSD_OK);
    CHECK(runsd_stop(shared, 100, &report, NULL) == RUNSD_OK);
    CHECK(report.aborted == 0);
    CHECK(runsd_state(shared) == RUNSD_STOPPED);
    CHECK(runsd_get_stats(shared, &stats) == RUNSD_OK);
    if (mine % 4 == 1)
        CHECK(runsd_stop(own, 0, NULL, NULL) == RUNSD_OK);
    runsd_engine_free(own);
    return NULL;
}

/* Whatever comes first, an answer is of the engine or that it has been freed. */
static void *everything_and_free(void *number) {
    intptr_t mine = (intptr_t)number;
    pthread_barrier_wait(&together);
    runsd_stats stats = {.size = sizeof stats};
    for (int i = 0; i < 20; i++) {
        runsd_status status = runsd_get_stats(shared, &stats);
        CHECK(status == RUNSD_OK || status == RUNSD_E_STATE);
    }
    runsd_status status = RUNSD_OK;
    switch (mine % 4) {
    case 0:
        status = runsd_wait(shared, -1, NULL);
        break;
    case 1:
        status = runsd_stop(shared, 3600 * 1000, NULL, NULL);
        break;
    default:
        runsd_engine_free(shared);
    }
    CHECK(status == RUNSD_OK || status == RUNSD_E_STATE);
    int32_t state = runsd_state(shared);
    CHECK(state == 0 || state == RUNSD_STOPPED);
    return NULL;
}

static void together_in_eight_threads(void *(*work)(void *)) {
    pthread_t threads[8];
    shared = start_plain();
    CHECK(pthread_barrier_init(&together, NULL, 8) == 0);
    for (intptr_t i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    for (int i = 0; i < 8; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    pthread_barrier_destroy(&together);
}

int main(void) {
    for (int round = 0; round < 5; round++) {
        together_in_eight_threads(everything);
        runsd_engine_free(shared);
        together_in_eight_threads(everything_and_free);
        CHECK(runsd_state(shared) == 0);
    }
    return 0;
}

/* Log callbacks: on one thread, one at a time, none after the stop, and a user
 * that is given up exactly once. */
#include "check.h"
#include <stdatomic.h>

struct heard {
    atomic_int records, within, dropped, busy;
    pthread_t thread;
    runsd_engine *_Atomic engine;
    int frees;
};

static void hear_record(void *user, const runsd_log_record *record) {
    struct heard *heard = user;
    CHECK(atomic_fetch_add(&heard->within, 1) == 0);
    CHECK(atomic_load(&heard->dropped) == 0);
    CHECK(record->size == sizeof *record);
    CHECK(record->level >= RUNSD_LOG_ERROR && record->level <= RUNSD_LOG_TRACE);
    CHECK(record->unix_ns > 1600000000ull * 1000000000ull);
    CHECK(record->target[0] != '\0' && record->message[0] != '\0');
    if (atomic_fetch_add(&heard->records, 1) == 0)
        heard->thread = pthread_self();
    CHECK(pthread_equal(heard->thread, pthread_self()));
    if (heard->frees) {
        /* The only handle goes in its own callback. */
        while (atomic_load(&heard->engine) == NULL)
            usleep(1000);
        runsd_engine_free(atomic_exchange(&heard->engine, NULL));
        heard->frees = 0;
    } else if (atomic_load(&heard->engine) != NULL) {
        runsd_engine *engine = atomic_load(&heard->engine);
        CHECK(runsd_stop(engine, 0, NULL, NULL) == RUNSD_E_BUSY);
        CHECK(runsd_wait(engine, 0, NULL) == RUNSD_E_BUSY);
        atomic_fetch_add(&heard->busy, 1);
    }
    atomic_fetch_sub(&heard->within, 1);
}

static void drop(void *user) {
    struct heard *heard = user;
    CHECK(atomic_load(&heard->within) == 0);
    atomic_fetch_add(&heard->dropped, 1);
}

static const char *const settings[] = {"mode", "proxy", "log_level", "trace", NULL};

static void a_user_is_given_up_when_the_last_that_needs_it_goes(void) {
    struct heard heard = {0};
    runsd_config *config = configure(settings);
    CHECK(runsd_config_set_log(config, hear_record, &heard, drop) == RUNSD_OK);
    runsd_engine *engine = start(config);
    runsd_config_free(config);
    CHECK(atomic_load(&heard.dropped) == 0);
    CHECK(runsd_stop(engine, 0, NULL, NULL) == RUNSD_OK);
    CHECK(atomic_load(&heard.records) > 0);
    CHECK(atomic_load(&heard.dropped) == 1);
    runsd_engine_free(engine);
    CHECK(atomic_load(&heard.dropped) == 1);
}

static void another_callback_gives_the_first_up(void) {
    struct heard first = {0}, second = {0};
    runsd_config *config = configure(settings);
    CHECK(runsd_config_set_log(config, hear_record, &first, drop) == RUNSD_OK);
    CHECK(runsd_config_set_log(config, hear_record, &second, drop) == RUNSD_OK);
    CHECK(atomic_load(&first.dropped) == 1 && atomic_load(&second.dropped) == 0);
    runsd_config_free(config);
    CHECK(atomic_load(&second.dropped) == 1);
}

static void a_failed_start_tells_everything_before_it_returns(void) {
    struct heard heard = {0};
    uint16_t port = 0;
    int taken = serve(&port);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    runsd_config *config = configure(settings);
    CHECK(runsd_config_set(config, "proxy_addr", address, NULL) == RUNSD_OK);
    CHECK(runsd_config_set_log(config, hear_record, &heard, drop) == RUNSD_OK);
    runsd_engine *engine = NULL;
    CHECK(runsd_start(config, &engine, NULL) == RUNSD_E_ADDR_IN_USE);
    runsd_config_free(config);
    CHECK(atomic_load(&heard.dropped) == 1);
    close(taken);
}

static void stopping_in_a_callback_is_refused(void) {
    struct heard heard = {0};
    runsd_config *config = configure(settings);
    CHECK(runsd_config_set_log(config, hear_record, &heard, drop) == RUNSD_OK);
    runsd_engine *engine = start(config);
    char address[64];
    CHECK(runsd_proxy_addr(engine, 0, address, sizeof address) > 0);
    atomic_store(&heard.engine, engine);
    while (atomic_load(&heard.busy) == 0)
        CHECK(proxy_answers(address));
    atomic_store(&heard.engine, NULL);
    CHECK(runsd_stop(engine, 0, NULL, NULL) == RUNSD_OK);
    runsd_engine_free(engine);
    runsd_config_free(config);
    CHECK(atomic_load(&heard.dropped) == 1);
}

static void freeing_in_a_callback_stops_elsewhere(void) {
    struct heard heard = {.frees = 1};
    runsd_config *config = configure(settings);
    CHECK(runsd_config_set_log(config, hear_record, &heard, drop) == RUNSD_OK);
    atomic_store(&heard.engine, start(config));
    runsd_config_free(config);
    while (atomic_load(&heard.dropped) == 0)
        usleep(1000);
    CHECK(atomic_load(&heard.dropped) == 1);
}

int main(void) {
    a_user_is_given_up_when_the_last_that_needs_it_goes();
    another_callback_gives_the_first_up();
    a_failed_start_tells_everything_before_it_returns();
    stopping_in_a_callback_is_refused();
    freeing_in_a_callback_stops_elsewhere();
    return 0;
}

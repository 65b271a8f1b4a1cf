/* Starts and stops engines many times: threads and descriptors stay what they
 * were after the second time, and what is left at the end does not depend on
 * how many times, which is the argument. */
#include "check.h"

int main(int count, char **arguments) {
    int cycles = count > 1 ? atoi(arguments[1]) : 100;
    int descriptors = 0;
    for (int cycle = 1; cycle <= cycles; cycle++) {
        runsd_engine *engine = start_plain();
        char address[64];
        CHECK(runsd_proxy_addr(engine, 0, address, sizeof address) > 0);
        CHECK(proxy_answers(address));
        runsd_stop_report report = {.size = sizeof report, .aborted = 7};
        CHECK(runsd_stop(engine, 1000, &report, NULL) == RUNSD_OK);
        CHECK(report.aborted == 0);
        CHECK(!proxy_answers(address));
        runsd_engine_free(engine);
        if (cycle == 2)
            descriptors = entries("/proc/self/fd");
    }
    /* The kernel lists a thread for a moment after it was joined. */
    for (int i = 0; i < 1000 && entries("/proc/self/task") > 2; i++)
        usleep(10 * 1000);
    CHECK(entries("/proc/self/task") == 2); /* This one, and the reactor's. */
    CHECK(entries("/proc/self/fd") == descriptors);
    return 0;
}

/* Starts and stops engines many times: threads and descriptors stay what they
 * were after the second time, and what is left at the end does not depend on
 * how many times, which is the argument. */
#include "check.h"

int main(int count, char **arguments) {
    int cycles = count > 1 ? atoi(arguments[1]) : 100;
    int threads = 0, descriptors = 0;
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
        if (cycle == 2) {
            threads = entries("/proc/self/task");
            descriptors = entries("/proc/self/fd");
        }
    }
    CHECK(entries("/proc/self/task") == threads);
    CHECK(entries("/proc/self/fd") == descriptors);
    return 0;
}

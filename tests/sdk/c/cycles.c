/* Starts and stops engines many times: threads, descriptors and memory stay
 * what they were after the second time. The argument is how many times. */
#include "check.h"
#include <malloc.h>

int main(int count, char **arguments) {
    int cycles = count > 1 ? atoi(arguments[1]) : 100;
    int threads = 0, descriptors = 0;
    size_t memory = 0;
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
        if (cycle == 10)
            memory = mallinfo2().uordblks;
    }
    CHECK(entries("/proc/self/task") == threads);
    CHECK(entries("/proc/self/fd") == descriptors);
    /* Under valgrind malloc is another and says 0; its leak check is stricter. */
    if (cycles > 10 && memory > 0)
        CHECK(mallinfo2().uordblks < memory + 16 * 1024);
    return 0;
}

/* Starts, uses and stops engines many times: threads and descriptors stay what
 * they were after the second time, and what is left at the end does not depend on
 * how many times, which is the argument. */
#include "check.h"
#include <sys/syscall.h>

/* Whether the one thread that stays, the reactor's, sleeps in the kernel until
 * something happens, and so has put down what it had in hand. */
static int only_the_reactor_stays_and_sleeps(void) {
    char path[300];
    int sleeping = 0, others = 0;
    DIR *threads = opendir("/proc/self/task");
    CHECK(threads != NULL);
    for (struct dirent *thread; (thread = readdir(threads)) != NULL;) {
        if (thread->d_name[0] == '.' || atoi(thread->d_name) == getpid())
            continue;
        long call = -1;
        snprintf(path, sizeof path, "/proc/self/task/%s/syscall", thread->d_name);
        FILE *file = fopen(path, "r");
        if (file != NULL) {
            if (fscanf(file, "%ld", &call) != 1)
                call = -1;
            fclose(file);
        }
        others++;
        sleeping += call == SYS_epoll_wait || call == SYS_epoll_pwait;
    }
    closedir(threads);
    return others == 1 && sleeping == 1;
}

/* An engine with DNS and a proxy that knows one service, which is here. */
static runsd_engine *start_with_route(uint16_t port) {
    char route[128];
    snprintf(route, sizeof route, "[{\"name\": \"hello\", \"url\": \"http://127.0.0.1:%u\"}]",
             port);
    const char *const settings[] = {"mode", "full", "resolv_conf_mode", "leave", "dns_addr",
                                    "127.0.0.1:0", "proxy_addr", "127.0.0.1:0", "routes", route,
                                    NULL};
    runsd_config *config = configure(settings);
    runsd_engine *engine = start(config);
    runsd_config_free(config);
    return engine;
}

/* Sends a request to the service; both connections stay open. */
static void ask(runsd_engine *engine, int service, int ends[2]) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: hello\r\n\r\n";
    char address[64];
    CHECK(runsd_proxy_addr(engine, 0, address, sizeof address) > 0);
    ends[0] = dial(address);
    CHECK(ends[0] >= 0);
    CHECK(write(ends[0], request, sizeof request - 1) == (ssize_t)sizeof request - 1);
    ends[1] = accept(service, NULL, NULL);
    CHECK(ends[1] >= 0 && hear(ends[1], "\r\n\r\n"));
}

/* Answers it. */
static void answer(int ends[2]) {
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    CHECK(write(ends[1], answer, sizeof answer - 1) == (ssize_t)sizeof answer - 1);
    CHECK(hear(ends[0], "\r\n\r\nok"));
}

/* A stop that has to wait leaves a timer in the reactor's hand, which puts it down when
 * it turns the next time. Whether the stops of the cycles have to wait is chance; this
 * one has to, until its own timer makes the reactor turn. */
static void wait_in_vain(uint16_t port, int service) {
    int ends[2];
    runsd_engine *engine = start_with_route(port);
    ask(engine, service, ends);
    runsd_stop_report report = {.size = sizeof report};
    CHECK(runsd_stop(engine, 1, &report, NULL) == RUNSD_OK);
    CHECK(report.aborted == 1);
    runsd_engine_free(engine);
    close(ends[0]);
    close(ends[1]);
}

int main(int count, char **arguments) {
    int cycles = count > 1 ? atoi(arguments[1]) : 100;
    int descriptors = 0, ends[2];
    uint16_t port = 0;
    int service = serve(&port);
    for (int cycle = 1; cycle <= cycles; cycle++) {
        runsd_engine *engine = start_with_route(port);
        char address[64];
        CHECK(runsd_proxy_addr(engine, 0, address, sizeof address) > 0);
        CHECK(proxy_answers(address));
        ask(engine, service, ends);
        answer(ends);
        runsd_stop_report report = {.size = sizeof report, .aborted = 7};
        /* All has been answered, so that this returns long before. */
        CHECK(runsd_stop(engine, 60 * 1000, &report, NULL) == RUNSD_OK);
        CHECK(report.aborted == 0);
        CHECK(!proxy_answers(address));
        runsd_engine_free(engine);
        close(ends[0]);
        close(ends[1]);
        if (cycle == 2)
            descriptors = entries("/proc/self/fd") - 1; /* The service's. */
    }
    wait_in_vain(port, service);
    close(service);
    /* The kernel lists a thread for a moment after it was joined. */
    for (int i = 0; i < 1000 && !only_the_reactor_stays_and_sleeps(); i++)
        usleep(10 * 1000);
    CHECK(only_the_reactor_stays_and_sleeps());
    CHECK(entries("/proc/self/task") == 2); /* This one, and the reactor's. */
    CHECK(entries("/proc/self/fd") == descriptors);
    return 0;
}

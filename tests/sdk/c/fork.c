/* Forks while an engine runs: the child is refused everything and served by the
 * parent; the parent stops, and has its ports again while the child lives. A
 * process whose starts never came so far leaves its children free to start. */
#include "check.h"

static void in_the_child(runsd_engine *engine, const char *address) {
    runsd_error *error = NULL;
    char parent[32];
    snprintf(parent, sizeof parent, "process %d", (int)getppid());
    CHECK(runsd_state(engine) == RUNSD_FORKED);
    CHECK(runsd_stop(engine, 0, NULL, &error) == RUNSD_E_FORKED);
    CHECK(strstr(runsd_error_message(error), parent) != NULL);
    CHECK(strstr(runsd_error_message(error), "post_fork") != NULL);
    runsd_error_free(error);
    CHECK(runsd_wait(engine, 0, NULL) == RUNSD_E_FORKED);
    runsd_stats stats = {.size = sizeof stats};
    CHECK(runsd_get_stats(engine, &stats) == RUNSD_E_FORKED);
    runsd_config *config = runsd_config_new(RUNSD_ABI_VERSION);
    runsd_engine *another = NULL;
    CHECK(runsd_start(config, &another, &error) == RUNSD_E_FORKED);
    CHECK(another == NULL);
    CHECK(strstr(runsd_error_message(error), parent) != NULL);
    CHECK(strstr(runsd_error_message(error), "spawned") != NULL);
    runsd_error_free(error);
    runsd_config_free(config);
    CHECK(proxy_answers(address));
    runsd_engine_free(engine);
    CHECK(proxy_answers(address));
}

/* How many sockets this process has. */
static int sockets(void) {
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        char path[32], target[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, target, sizeof target - 1) > 0)
            count += strncmp(target, "socket:", 7) == 0;
    }
    return count;
}

/* Whether a child that is forked now can start an engine. */
static int a_child_may_start(void) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const char *const settings[] = {"mode", "proxy", NULL};
        runsd_config *config = configure(settings);
        runsd_engine *engine = NULL;
        runsd_status status = runsd_start(config, &engine, NULL);
        CHECK(status == RUNSD_OK || status == RUNSD_E_FORKED);
        runsd_engine_free(engine);
        runsd_config_free(config);
        exit(status == RUNSD_OK ? 0 : 3);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3);
    return WEXITSTATUS(status) == 0;
}

static void fail_to_start(const char *key, const char *value, runsd_status expected) {
    const char *const settings[] = {"mode", "proxy", key, value, NULL};
    runsd_config *config = configure(settings);
    runsd_engine *engine = NULL;
    CHECK(runsd_start(config, &engine, NULL) == expected);
    runsd_config_free(config);
}

static void a_start_that_fails_binds_whom_it_must(void) {
    fail_to_start("regoin", "us-east1", RUNSD_E_CONFIG);
    CHECK(a_child_may_start());
    /* This one has touched the reactor, which children share. */
    uint16_t port = 0;
    int taken = serve(&port);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    fail_to_start("proxy_addr", address, RUNSD_E_ADDR_IN_USE);
    close(taken);
    CHECK(!a_child_may_start());
}

int main(void) {
    a_start_that_fails_binds_whom_it_must();
    runsd_engine *engine = start_plain();
    char proxy[64], dns[64];
    CHECK(runsd_proxy_addr(engine, 0, proxy, sizeof proxy) > 0);
    CHECK(runsd_dns_addr(engine, 0, dns, sizeof dns) > 0);
    int open_connection = dial(proxy);
    CHECK(open_connection >= 0 && proxy_answers(proxy));
    /* DNS by UDP and TCP, the proxy, and both ends of the open connection. */
    for (int i = 0; i < 1000 && sockets() > 5; i++)
        usleep(10 * 1000);
    CHECK(sockets() == 5);
    int ready[2], live[2];
    CHECK(pipe(ready) == 0 && pipe(live) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char byte;
        close(live[1]);
        CHECK(sockets() == 1); /* open_connection, which is not the engine's. */
        close(open_connection);
        in_the_child(engine, proxy);
        CHECK(write(ready[1], "x", 1) == 1);
        CHECK(read(live[0], &byte, 1) == 0);
        exit(0);
    }
    close(ready[1]);
    close(live[0]);
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1);
    CHECK(runsd_state(engine) == RUNSD_RUNNING);
    CHECK(runsd_stop(engine, 0, NULL, NULL) == RUNSD_OK);
    /* The child holds no copy, so the end of the connection is heard. */
    CHECK(read(open_connection, &byte, 1) <= 0);
    runsd_engine_free(engine);
    const char *const settings[] = {"mode", "full", "resolv_conf_mode", "leave", "dns_addr",
                                    dns, "proxy_addr", proxy, NULL};
    runsd_config *config = configure(settings);
    engine = start(config);
    runsd_config_free(config);
    CHECK(proxy_answers(proxy));
    CHECK(waitpid(child, NULL, WNOHANG) == 0);
    close(live[1]);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    runsd_engine_free(engine);
    return 0;
}

/* The engine as a guest: the host's signals, dispositions and environment are
 * the host's, and are what they were. */
#include "check.h"

extern char **environ;

static volatile sig_atomic_t handled;
static volatile pid_t handled_by;

static void handler(int signal) {
    handled = signal;
    handled_by = gettid();
}

/* The mask of blocked signals of one of this process's threads. */
static unsigned long long blocked(const char *thread, char *name, size_t capacity) {
    char path[64], line[256];
    unsigned long long mask = 0;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
    FILE *status = fopen(path, "r");
    if (status == NULL)
        return 0; /* It has ended meanwhile. */
    while (fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, "Name:\t", 6) == 0)
            snprintf(name, capacity, "%.*s", (int)strcspn(line + 6, "\n"), line + 6);
        sscanf(line, "SigBlk: %llx", &mask);
    }
    fclose(status);
    return mask;
}

static int is_known(const char *name) {
    return strncmp(name, "runsd-", 6) == 0 || strcmp(name, "async-io") == 0;
}

/* Whether every thread but this one has begun, that is, has its name and takes its
 * own faults: the C library blocks everything while a thread begins. */
static int all_have_begun(void) {
    char self[16], name[32] = "";
    int begun = 1;
    snprintf(self, sizeof self, "%d", (int)getpid());
    DIR *threads = opendir("/proc/self/task");
    CHECK(threads != NULL);
    for (struct dirent *thread; (thread = readdir(threads)) != NULL;)
        if (thread->d_name[0] != '.' && strcmp(thread->d_name, self) != 0)
            begun &= !(blocked(thread->d_name, name, sizeof name) >> (SIGSEGV - 1) & 1) &&
                     is_known(name);
    closedir(threads);
    return begun;
}

static void every_thread_of_the_engine_blocks_signals(void) {
    static const int signals[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGPIPE,  SIGALRM, SIGTERM,
                                  SIGCHLD, SIGUSR1, SIGUSR2, SIGWINCH, SIGURG,  SIGPROF};
    char self[16];
    int checked = 0;
    for (int i = 0; i < 1000 && !all_have_begun(); i++)
        usleep(10 * 1000);
    CHECK(all_have_begun());
    snprintf(self, sizeof self, "%d", (int)getpid());
    DIR *threads = opendir("/proc/self/task");
    CHECK(threads != NULL);
    for (struct dirent *thread; (thread = readdir(threads)) != NULL;) {
        char name[32] = "";
        if (thread->d_name[0] == '.' || strcmp(thread->d_name, self) == 0)
            continue;
        unsigned long long mask = blocked(thread->d_name, name, sizeof name);
        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
            if (!(mask >> (signals[i] - 1) & 1))
                fprintf(stderr, "%s takes signal %d\n", name, signals[i]);
            CHECK(mask >> (signals[i] - 1) & 1);
        }
        checked++;
    }
    closedir(threads);
    CHECK(checked >= 2);
}

static void dispositions(struct sigaction *into) {
    for (int signal = 1; signal <= 64; signal++)
        sigaction(signal, NULL, &into[signal]);
}

/* An app that goes away in the midst of a body: the proxy writes to nobody, and
 * no SIGPIPE reaches the host, which would end it. */
static void apps_may_leave_while_a_body_streams(void) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\nbegun";
    static const char more[65536];
    uint16_t port = 0;
    int service = serve(&port);
    char route[128], address[64];
    snprintf(route, sizeof route, "[{\"name\": \"large\", \"url\": \"http://127.0.0.1:%u\"}]",
             port);
    const char *const settings[] = {"mode", "proxy", "routes", route, NULL};
    runsd_config *config = configure(settings);
    runsd_engine *engine = start(config);
    runsd_config_free(config);
    CHECK(runsd_proxy_addr(engine, 0, address, sizeof address) > 0);
    for (int i = 0; i < 5; i++) {
        int app = dial(address);
        CHECK(write(app, "GET http://large/ HTTP/1.1\r\nHost: large\r\n\r\n", 43) == 43);
        int upstream = accept(service, NULL, NULL);
        CHECK(upstream >= 0 && hear(upstream, "\r\n\r\n"));
        CHECK(send(upstream, head, sizeof head - 1, 0) == (ssize_t)sizeof head - 1);
        CHECK(hear(app, "begun"));
        close(app);
        /* Until the proxy has noticed, and has given the service up too. */
        while (send(upstream, more, sizeof more, MSG_NOSIGNAL) > 0)
            continue;
        close(upstream);
    }
    CHECK(runsd_stop(engine, 0, NULL, NULL) == RUNSD_OK);
    runsd_engine_free(engine);
    close(service);
}

int main(void) {
    static struct sigaction before[65], after[65];
    struct sigaction own = {.sa_handler = handler};
    CHECK(sigaction(SIGTERM, &own, NULL) == 0);
    signal(SIGPIPE, SIG_DFL);
    char **environment = environ;
    char *first = environ[0];
    sigset_t mask_before, mask_after;
    dispositions(before);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_before);

    runsd_engine *engine = start_plain();
    char address[64];
    CHECK(runsd_proxy_addr(engine, 0, address, sizeof address) > 0);
    CHECK(proxy_answers(address));
    every_thread_of_the_engine_blocks_signals();

    /* A client that goes away while it is answered: no SIGPIPE for anybody. */
    for (int i = 0; i < 20; i++) {
        int fd = dial(address);
        CHECK(fd >= 0);
        struct linger reset = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        CHECK(write(fd, "GET / HTTP/1.1\r\nHost: a_b\r\n\r\n", 29) == 29);
        close(fd);
    }
    CHECK(proxy_answers(address));

    apps_may_leave_while_a_body_streams();

    CHECK(kill(getpid(), SIGTERM) == 0);
    CHECK(handled == SIGTERM && handled_by == getpid());
    CHECK(runsd_state(engine) == RUNSD_RUNNING);
    CHECK(runsd_stop(engine, 0, NULL, NULL) == RUNSD_OK);
    runsd_engine_free(engine);

    dispositions(after);
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    for (int signal = 1; signal <= 64; signal++) {
        CHECK(before[signal].sa_handler == after[signal].sa_handler);
        CHECK(before[signal].sa_flags == after[signal].sa_flags);
    }
    CHECK(memcmp(&mask_before, &mask_after, sizeof mask_before) == 0);
    CHECK(environ == environment && environ[0] == first);
    return 0;
}

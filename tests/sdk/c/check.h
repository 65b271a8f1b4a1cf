/* What the C programs of the tests share: saying what is wrong, starting an
 * engine that needs no privileges, and looking at this very process. */
#ifndef CHECK_H
#define CHECK_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <runsd.h>

#define CHECK(true_thing)                                                                \
    do {                                                                                 \
        if (!(true_thing)) {                                                             \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #true_thing);   \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

/* A configuration from pairs of key and value that end with NULL. */
static inline runsd_config *configure(const char *const *settings) {
    runsd_config *config = runsd_config_new(RUNSD_ABI_VERSION);
    CHECK(config != NULL);
    for (; settings[0] != NULL; settings += 2)
        CHECK(runsd_config_set(config, settings[0], settings[1], NULL) == RUNSD_OK);
    return config;
}

/* Starts an engine and says why if it does not. */
static inline runsd_engine *start(const runsd_config *config) {
    runsd_engine *engine = NULL;
    runsd_error *error = NULL;
    if (runsd_start(config, &engine, &error) != RUNSD_OK) {
        fprintf(stderr, "cannot start: %s\n", runsd_error_message(error));
        exit(1);
    }
    CHECK(error == NULL);
    return engine;
}

/* An engine with DNS and proxy on ports of the kernel's choice. */
static inline runsd_engine *start_plain(void) {
    static const char *const settings[] = {
        "mode", "full", "resolv_conf_mode", "leave", "dns_addr", "127.0.0.1:0",
        "proxy_addr", "127.0.0.1:0", NULL};
    runsd_config *config = configure(settings);
    runsd_engine *engine = start(config);
    runsd_config_free(config);
    return engine;
}

/* How many entries a directory has, such as /proc/self/fd. */
static inline int entries(const char *path) {
    DIR *directory = opendir(path);
    CHECK(directory != NULL);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

/* A socket connected to "127.0.0.1:PORT", or -1. */
static inline int dial(const char *address) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A listener on a port of the kernel's choice. */
static inline int serve(uint16_t *port) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(bind(fd, (struct sockaddr *)&at, length) == 0);
    CHECK(listen(fd, 16) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&at, &length) == 0);
    *port = ntohs(at.sin_port);
    return fd;
}

/* Reads until `text` has come or the end; whether it has. */
static inline int hear(int fd, const char *text) {
    char heard[4096] = "";
    size_t length = 0;
    while (strstr(heard, text) == NULL && length < sizeof heard - 1) {
        ssize_t count = read(fd, heard + length, sizeof heard - 1 - length);
        if (count <= 0)
            return 0;
        length += (size_t)count;
        heard[length] = '\0';
    }
    return strstr(heard, text) != NULL;
}

/* Sends a request for http://nowhere/ to a proxy; whether it is answered, which
 * needs no network: the name is not one of a service. */
static inline int proxy_answers(const char *address) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: not_a_name\r\nConnection: close\r\n\r\n";
    int fd = dial(address);
    if (fd < 0)
        return 0;
    CHECK(write(fd, request, sizeof request - 1) == (ssize_t)sizeof request - 1);
    int answered = hear(fd, "HTTP/1.1 ");
    close(fd);
    return answered;
}

#endif

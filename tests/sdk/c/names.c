/* In full mode the C library's own resolver finds services; two engines cannot
 * both have resolv.conf; and after the stop names lead where they led before. */
#include "check.h"
#include <netdb.h>

static int find(struct sockaddr_in *into) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo("hello", "80", &hints, &found) != 0)
        return 0;
    memcpy(into, found->ai_addr, sizeof *into);
    freeaddrinfo(found);
    return 1;
}

int main(void) {
    const char *const nothing[] = {NULL};
    const char *const second[] = {"mode", "full", "dns_addr", "127.0.0.2:53",
                                  "proxy_addr", "127.0.0.2:80", NULL};
    struct sockaddr_in address;
    CHECK(!find(&address));
    runsd_config *config = configure(nothing);
    runsd_engine *engine = start(config), *another = NULL;
    runsd_config_free(config);

    config = configure(second);
    CHECK(runsd_start(config, &another, NULL) == RUNSD_E_BUSY);
    runsd_config_free(config);

    CHECK(find(&address));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(write(fd, "GET / HTTP/1.1\r\nHost: hello\r\n\r\n", 31) == 31);
    char status[13] = "";
    CHECK(recv(fd, status, 12, MSG_WAITALL) == 12);
    printf("%s\n", status);
    close(fd);

    CHECK(runsd_stop(engine, 1000, NULL, NULL) == RUNSD_OK);
    CHECK(!find(&address));
    runsd_engine_free(engine);
    return 0;
}

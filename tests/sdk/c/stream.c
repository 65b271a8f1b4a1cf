/* Stops while a response streams: it is cut when the time is up, and counted. */
#include "check.h"

int main(void) {
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun";
    uint16_t port = 0;
    int service = serve(&port);
    char route[128], address[64], byte;
    snprintf(route, sizeof route, "[{\"name\": \"slow\", \"url\": \"http://127.0.0.1:%u\"}]", port);
    const char *const settings[] = {"mode", "proxy", "routes", route, NULL};
    runsd_config *config = configure(settings);
    runsd_engine *engine = start(config);
    runsd_config_free(config);
    CHECK(runsd_proxy_addr(engine, 0, address, sizeof address) > 0);

    int app = dial(address);
    CHECK(write(app, "GET http://slow/ HTTP/1.1\r\nHost: slow\r\n\r\n", 41) == 41);
    int upstream = accept(service, NULL, NULL);
    CHECK(upstream >= 0 && hear(upstream, "\r\n\r\n"));
    CHECK(write(upstream, answer, sizeof answer - 1) == (ssize_t)sizeof answer - 1);
    CHECK(hear(app, "begun"));

    runsd_stop_report report = {.size = sizeof report};
    CHECK(runsd_stop(engine, 50, &report, NULL) == RUNSD_OK);
    CHECK(report.aborted == 1);
    CHECK(read(app, &byte, 1) <= 0);
    runsd_stats stats = {.size = sizeof stats};
    CHECK(runsd_get_stats(engine, &stats) == RUNSD_OK);
    CHECK(stats.proxy_requests == 1 && stats.upstream_connections == 1);
    runsd_engine_free(engine);
    return 0;
}

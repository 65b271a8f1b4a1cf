/* Misuse: every function with every pointer NULL, engines after their stop and
 * after their end, wrong values; and outputs that failures leave alone. */
#include "check.h"

static void errors_without_an_error(void) {
    CHECK(runsd_error_code(NULL) == RUNSD_E_NULL);
    CHECK(strcmp(runsd_error_message(NULL), "") == 0);
    CHECK(runsd_error_os(NULL) == 0);
    runsd_error_free(NULL);
}

static void configurations(void) {
    CHECK(runsd_config_new(0) == NULL);
    CHECK(runsd_config_new(RUNSD_ABI_VERSION + 1) == NULL);
    CHECK(runsd_config_set(NULL, "mode", "off", NULL) == RUNSD_E_NULL);
    runsd_config *config = runsd_config_new(RUNSD_ABI_VERSION);
    CHECK(runsd_config_set(config, NULL, "off", NULL) == RUNSD_E_NULL);
    CHECK(runsd_config_set(config, "mode", NULL, NULL) == RUNSD_E_NULL);
    runsd_error *error = NULL;
    CHECK(runsd_config_set(config, "mode", "\xff", &error) == RUNSD_E_UTF8);
    CHECK(runsd_error_code(error) == RUNSD_E_UTF8);
    CHECK(strstr(runsd_error_message(error), "value") != NULL);
    runsd_error_free(error);
    CHECK(runsd_config_set(config, "\xff", "off", NULL) == RUNSD_E_UTF8);
    CHECK(runsd_config_set_log(NULL, NULL, NULL, NULL) == RUNSD_E_NULL);
    CHECK(runsd_config_set_log(config, NULL, NULL, NULL) == RUNSD_E_NULL);
    runsd_config_free(config);
    runsd_config_free(NULL);
}

static void mistakes_are_told_together(void) {
    const char *const settings[] = {"mode", "nonsense", "regoin", "us-east1", NULL};
    runsd_config *config = configure(settings);
    runsd_engine *engine = (runsd_engine *)&engine;
    runsd_error *error = NULL;
    CHECK(runsd_start(config, &engine, &error) == RUNSD_E_CONFIG);
    CHECK(engine == (runsd_engine *)&engine);
    CHECK(strstr(runsd_error_message(error), "nonsense") != NULL);
    CHECK(strstr(runsd_error_message(error), "regoin") != NULL);
    CHECK(strstr(runsd_error_message(error), "did you mean \"region\"") != NULL);
    CHECK(runsd_error_os(error) == 0);
    runsd_error_free(error);
    CHECK(runsd_start(config, &engine, NULL) == RUNSD_E_CONFIG);
    CHECK(runsd_start(config, NULL, NULL) == RUNSD_E_NULL);
    CHECK(runsd_start(NULL, &engine, NULL) == RUNSD_E_NULL);
    runsd_config_free(config);
}

static void a_taken_port_has_its_errno(void) {
    uint16_t port = 0;
    int taken = serve(&port);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    const char *const settings[] = {"mode", "proxy", "proxy_addr", address, NULL};
    runsd_config *config = configure(settings);
    runsd_engine *engine = NULL;
    runsd_error *error = NULL;
    CHECK(runsd_start(config, &engine, &error) == RUNSD_E_ADDR_IN_USE);
    CHECK(runsd_error_os(error) == EADDRINUSE);
    char holder[32];
    snprintf(holder, sizeof holder, "(pid %d)", (int)getpid());
    CHECK(strstr(runsd_error_message(error), holder) != NULL);
    runsd_error_free(error);
    runsd_config_free(config);
    close(taken);
}

static void engines_without_an_engine(void) {
    runsd_stop_report report = {.size = sizeof report, .aborted = 7};
    CHECK(runsd_stop(NULL, 0, &report, NULL) == RUNSD_E_NULL);
    CHECK(report.aborted == 7);
    CHECK(runsd_wait(NULL, 0, NULL) == RUNSD_E_NULL);
    CHECK(runsd_state(NULL) == 0);
    runsd_stats stats = {.size = sizeof stats};
    CHECK(runsd_get_stats(NULL, &stats) == RUNSD_E_NULL);
    char text[64] = "as it was";
    CHECK(runsd_proxy_addr(NULL, 0, text, sizeof text) == 0);
    CHECK(runsd_dns_addr(NULL, 0, text, sizeof text) == 0);
    CHECK(runsd_admin_addr(NULL, text, sizeof text) == 0);
    CHECK(strcmp(text, "as it was") == 0);
    runsd_engine_free(NULL);
}

static void after_its_stop(runsd_engine *engine) {
    runsd_stop_report report = {.size = sizeof report, .aborted = 7};
    CHECK(runsd_stop(engine, UINT32_MAX, &report, NULL) == RUNSD_OK);
    CHECK(report.aborted == 0);
    CHECK(runsd_wait(engine, -1, NULL) == RUNSD_OK);
    CHECK(runsd_state(engine) == RUNSD_STOPPED);
    runsd_stats stats = {.size = sizeof stats};
    CHECK(runsd_get_stats(engine, &stats) == RUNSD_OK);
    char text[64];
    CHECK(runsd_proxy_addr(engine, 0, text, sizeof text) > 0);
    CHECK(!proxy_answers(text));
}

static void after_its_end(runsd_engine *engine) {
    /* Were its memory used again, this would be where. */
    runsd_engine *other = start_plain();
    CHECK(other != engine);
    runsd_error *error = NULL;
    runsd_stop_report report = {.size = sizeof report, .aborted = 7};
    CHECK(runsd_stop(engine, 0, &report, &error) == RUNSD_E_STATE);
    CHECK(report.aborted == 7);
    CHECK(strstr(runsd_error_message(error), "freed") != NULL);
    runsd_error_free(error);
    CHECK(runsd_wait(engine, -1, NULL) == RUNSD_E_STATE);
    runsd_stats stats = {.size = sizeof stats, .dns_queries = 7};
    CHECK(runsd_get_stats(engine, &stats) == RUNSD_E_STATE);
    CHECK(stats.dns_queries == 7);
    CHECK(runsd_state(engine) == 0);
    char text[64] = "as it was";
    CHECK(runsd_proxy_addr(engine, 0, text, sizeof text) == 0);
    CHECK(runsd_dns_addr(engine, 0, text, sizeof text) == 0);
    CHECK(runsd_admin_addr(engine, text, sizeof text) == 0);
    CHECK(strcmp(text, "as it was") == 0);
    runsd_engine_free(engine);
    CHECK(runsd_state(other) == RUNSD_RUNNING);
    runsd_engine_free(other);
}

/* What a key asks for can be found, at a port of the kernel's choice too. */
static void admin(void) {
    static const char *const settings[] = {
        "mode", "proxy", "proxy_addr", "127.0.0.1:0", "admin_addr", "127.0.0.1:0",
        "region", "us-central1", NULL};
    runsd_config *config = configure(settings);
    runsd_engine *engine = start(config);
    runsd_config_free(config);
    char text[64], cut[8];
    CHECK(runsd_admin_addr(engine, text, sizeof text) == strlen(text));
    CHECK(runsd_admin_addr(engine, NULL, 0) == strlen(text));
    CHECK(runsd_admin_addr(engine, cut, sizeof cut) == strlen(text));
    int fd = dial(text);
    CHECK(fd >= 0);
    close(fd);
    runsd_engine_free(engine);
}

static void engines(void) {
    runsd_engine *engine = start_plain();
    CHECK(runsd_state(engine) == RUNSD_RUNNING);
    CHECK(runsd_get_stats(engine, NULL) == RUNSD_E_NULL);
    CHECK(runsd_wait(engine, 0, NULL) == RUNSD_E_TIMEOUT);
    char text[64], cut[8] = "";
    size_t length = runsd_proxy_addr(engine, 0, text, sizeof text);
    CHECK(length == strlen(text) && strncmp(text, "127.0.0.1:", 10) == 0);
    CHECK(runsd_proxy_addr(engine, 0, NULL, 0) == length);
    CHECK(runsd_proxy_addr(engine, 0, cut, sizeof cut) == length);
    CHECK(strcmp(cut, "127.0.0") == 0);
    CHECK(runsd_proxy_addr(engine, 1, text, sizeof text) == 0);
    CHECK(runsd_dns_addr(engine, 0, text, sizeof text) > 10);
    /* Nobody has asked for an admin endpoint. */
    CHECK(runsd_admin_addr(engine, text, sizeof text) == 0);
    /* A program that knows only the first counters gets those. */
    struct {
        size_t size;
        uint64_t dns_queries, untouched;
    } older = {sizeof(size_t) + sizeof(uint64_t), 77, 88};
    CHECK(runsd_get_stats(engine, (runsd_stats *)&older) == RUNSD_OK);
    CHECK(older.dns_queries > 0 && older.dns_queries < 77 && older.untouched == 88);
    CHECK(runsd_stop(engine, 0, NULL, NULL) == RUNSD_OK);
    after_its_stop(engine);
    runsd_engine_free(engine);
    after_its_end(engine);
}

int main(void) {
    CHECK(runsd_abi_version() == RUNSD_ABI_VERSION);
    CHECK(strchr(runsd_version(), '.') != NULL);
    CHECK(strcmp(runsd_status_name(RUNSD_E_FORKED), "RUNSD_E_FORKED") == 0);
    CHECK(strcmp(runsd_status_name(-5), "RUNSD_E_UNKNOWN") == 0);
    errors_without_an_error();
    configurations();
    mistakes_are_told_together();
    a_taken_port_has_its_errno();
    engines_without_an_engine();
    engines();
    admin();
    return 0;
}

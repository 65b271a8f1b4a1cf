/* Without privileges, which it gives up: a port that only root may bind is
 * refused with what to do about it, and the mode that needs none works. The
 * argument is an address with such a port. */
#include "check.h"

int main(int count, char **arguments) {
    CHECK(count == 2);
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    const char *const privileged[] = {"mode", "full", "resolv_conf_mode", "leave", "dns_addr",
                                      "127.0.0.1:0", "proxy_addr", arguments[1], NULL};
    runsd_config *config = configure(privileged);
    runsd_engine *engine = NULL;
    runsd_error *error = NULL;
    CHECK(runsd_start(config, &engine, &error) == RUNSD_E_PERMISSION);
    CHECK(engine == NULL);
    CHECK(runsd_error_os(error) == EACCES);
    CHECK(strstr(runsd_error_message(error), "--mode proxy") != NULL);
    runsd_error_free(error);
    runsd_config_free(config);

    const char *const plain[] = {"mode", "proxy", NULL};
    config = configure(plain);
    engine = start(config);
    runsd_config_free(config);
    runsd_engine_free(engine);
    return 0;
}

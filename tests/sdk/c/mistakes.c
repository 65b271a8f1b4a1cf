/* What a host must not do, by its name as the argument: so that the tools which
 * find nothing elsewhere are seen to find this. */
#include "check.h"

static __attribute__((noinline)) void lose_a_configuration(void) {
    const char *const settings[] = {"mode", "off", NULL};
    CHECK(configure(settings) != NULL);
}

static __attribute__((noinline)) void free_a_configuration_twice(void) {
    const char *const settings[] = {"mode", "off", NULL};
    runsd_config *config = configure(settings);
    runsd_config_free(config);
    runsd_config_free(config);
}

static __attribute__((noinline)) void read_an_error_after_its_end(void) {
    runsd_error *error = NULL;
    CHECK(runsd_config_set(NULL, "mode", "off", &error) == RUNSD_E_NULL);
    const char *message = runsd_error_message(error);
    runsd_error_free(error);
    CHECK(message[0] != '\n');
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    if (strcmp(arguments[1], "lose") == 0)
        lose_a_configuration();
    else if (strcmp(arguments[1], "twice") == 0)
        free_a_configuration_twice();
    else if (strcmp(arguments[1], "after") == 0)
        read_an_error_after_its_end();
    return 0;
}

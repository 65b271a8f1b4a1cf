/* A host for tests/bench/embedded: takes the arguments of the command `runsd
 * serve` as settings of an engine, which it runs until it is told to end. */
#include <runsd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int main(int count, char **arguments) {
    runsd_config *config = runsd_config_new(RUNSD_ABI_VERSION);
    runsd_engine *engine = NULL;
    runsd_error *error = NULL;
    sigset_t end;
    int signal;

    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigprocmask(SIG_BLOCK, &end, NULL);
    for (int i = 1; i < count && strncmp(arguments[i], "--", 2) == 0; i++) {
        char *key = arguments[i] + 2, *value = strchr(key, '=');
        if (value == NULL)
            return 2;
        *value++ = '\0';
        for (char *dash = key; (dash = strchr(dash, '-')) != NULL;)
            *dash = '_';
        if (runsd_config_set(config, key, value, NULL) != RUNSD_OK)
            return 2;
    }
    if (runsd_start(config, &engine, &error) != RUNSD_OK) {
        fprintf(stderr, "%s\n", runsd_error_message(error));
        return 1;
    }
    runsd_config_free(config);
    sigwait(&end, &signal);
    runsd_stop(engine, 0, NULL, NULL);
    runsd_engine_free(engine);
    return 0;
}

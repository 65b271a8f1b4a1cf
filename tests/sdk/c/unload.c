/* Loads the library at run time, starts and stops, and unloads it, several
 * times; the argument is the library. */
#include "check.h"
#include <dlfcn.h>

int main(int count, char **arguments) {
    CHECK(count == 2);
    for (int i = 0; i < 3; i++) {
        void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
        if (library == NULL)
            fprintf(stderr, "%s\n", dlerror());
        CHECK(library != NULL);
        runsd_config *(*config_new)(uint32_t);
        runsd_status (*config_set)(runsd_config *, const char *, const char *, runsd_error **);
        runsd_status (*engine_start)(const runsd_config *, runsd_engine **, runsd_error **);
        runsd_status (*stop)(const runsd_engine *, uint32_t, runsd_stop_report *, runsd_error **);
        void (*engine_free)(runsd_engine *);
        void (*config_free)(runsd_config *);
        *(void **)&config_new = dlsym(library, "runsd_config_new");
        *(void **)&config_set = dlsym(library, "runsd_config_set");
        *(void **)&config_free = dlsym(library, "runsd_config_free");
        *(void **)&engine_start = dlsym(library, "runsd_start");
        *(void **)&stop = dlsym(library, "runsd_stop");
        *(void **)&engine_free = dlsym(library, "runsd_engine_free");
        runsd_config *config = config_new(RUNSD_ABI_VERSION);
        CHECK(config_set(config, "mode", "proxy", NULL) == RUNSD_OK);
        runsd_engine *engine = NULL;
        CHECK(engine_start(config, &engine, NULL) == RUNSD_OK);
        CHECK(stop(engine, 0, NULL, NULL) == RUNSD_OK);
        engine_free(engine);
        config_free(config);
        CHECK(dlclose(library) == 0);
    }
    return 0;
}

/*
 * runsd: service discovery and authentication for Cloud Run, in any process.
 *
 * Generated from ffi/src; do not edit. Strings are NUL-terminated UTF-8 and are
 * copied on the way in. Every pointer may be NULL unless it says otherwise: a
 * NULL that cannot be used is answered with RUNSD_E_NULL. Outputs are untouched
 * on failure. Where a function takes `runsd_error **error`, that may be NULL;
 * otherwise a failure stores an error there that the caller must free.
 */

#ifndef RUNSD_H
#define RUNSD_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define RUNSD_NODISCARD __attribute__((warn_unused_result))
#else
#define RUNSD_NODISCARD
#endif

/**
 * The version of this interface; pass it to `runsd_config_new`.
 */
#define RUNSD_ABI_VERSION 1

/**
 * `runsd_state`: not running yet.
 */
#define RUNSD_STARTING 1

/**
 * `runsd_state`: serving.
 */
#define RUNSD_RUNNING 2

/**
 * `runsd_state`: finishing what is under way.
 */
#define RUNSD_STOPPING 3

/**
 * `runsd_state`: left in order, for good.
 */
#define RUNSD_STOPPED 4

/**
 * `runsd_state`: lost a part without which it does not go on.
 */
#define RUNSD_FAILED 5

/**
 * `runsd_state`: the engine belongs to the parent process.
 */
#define RUNSD_FORKED 6

/**
 * Settings for engines. One thread at a time.
 */
typedef struct runsd_config runsd_config;

/**
 * A running engine. Any thread may use it, several at once.
 */
typedef struct runsd_engine runsd_engine;

/**
 * Why a call failed. The caller owns it; it does not change.
 */
typedef struct runsd_error runsd_error;

/**
 * What a function answers: `RUNSD_OK` or one of `RUNSD_E_…`.
 */
typedef int32_t runsd_status;

/**
 * What `runsd_stop` did. Set `size` to `sizeof(runsd_stop_report)` before.
 */
typedef struct {
  /**
   * The size of this structure as the caller was compiled with it.
   */
  size_t size;
  /**
   * Exchanges that were under way when the time ran out, and were cut.
   */
  uint64_t aborted;
} runsd_stop_report;

/**
 * Done.
 */
#define RUNSD_OK 0

/**
 * A pointer that must not be NULL is.
 */
#define RUNSD_E_NULL 1

/**
 * A string is not UTF-8.
 */
#define RUNSD_E_UTF8 2

/**
 * A setting is wrong; the message lists every problem.
 */
#define RUNSD_E_CONFIG 3

/**
 * The call does not fit the engine's state.
 */
#define RUNSD_E_STATE 4

/**
 * Another engine of this process has it.
 */
#define RUNSD_E_BUSY 5

/**
 * Called in a child process that was forked from the engine's.
 */
#define RUNSD_E_FORKED 6

/**
 * It took too long.
 */
#define RUNSD_E_TIMEOUT 7

/**
 * A port is taken; the message says by whom.
 */
#define RUNSD_E_ADDR_IN_USE 8

/**
 * The operating system does not permit it.
 */
#define RUNSD_E_PERMISSION 9

/**
 * The operating system failed.
 */
#define RUNSD_E_IO 10

/**
 * resolv.conf cannot be taken over.
 */
#define RUNSD_E_RESOLV 11

/**
 * The metadata server does not say where we are.
 */
#define RUNSD_E_METADATA 12

/**
 * A defect of runsd; please report it.
 */
#define RUNSD_E_PANIC 99

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * A configuration with nothing set, or NULL if the library does not implement
 * the interface of version `abi`; pass `RUNSD_ABI_VERSION`. The caller frees it
 * with `runsd_config_free`. Does not block.
 */
RUNSD_NODISCARD runsd_config *runsd_config_new(uint32_t abi);

/**
 * Sets one setting by its key, such as `region`; lists as a JSON array or
 * comma-separated, `routes` as a JSON array. Keys and values are checked by
 * `runsd_start`, which tells of all problems at once. Does not block.
 *
 * # Safety
 * `config` is NULL or not freed and used by no other thread; `key` and `value`
 * are NULL or NUL-terminated; `error` is NULL or writable.
 */
runsd_status runsd_config_set(runsd_config *config,
                              const char *key,
                              const char *value,
                              runsd_error **error);

/**
 * Frees a configuration; NULL is fine. Engines that were started with it go on.
 *
 * # Safety
 * `config` is NULL or not freed yet, and is not used again.
 */
void runsd_config_free(runsd_config *config);

/**
 * Starts an engine and stores it in `*out`: when this returns, its sockets are
 * bound and resolv.conf is written or left on purpose. The caller frees it with
 * `runsd_engine_free`. Blocks, usually for some milliseconds and for at most
 * about 2 s while the metadata server is silent.
 *
 * # Safety
 * `config` is NULL or not freed and not being changed; `out` is NULL or
 * writable; `error` is NULL or writable.
 */
runsd_status runsd_start(const runsd_config *config,
                         runsd_engine **out,
                         runsd_error **error);

/**
 * Stops an engine: restores resolv.conf, refuses new work, lets what is under
 * way finish for at most `drain_ms` milliseconds, then cuts it. `report` may be
 * NULL. Calling it again, or from several threads, gives the same report.
 * Blocks for at most about `drain_ms`. The engine must still be freed.
 *
 * # Safety
 * `engine` is NULL or not freed; `report` is NULL or writable, with its `size`
 * set; `error` is NULL or writable.
 */
runsd_status runsd_stop(const runsd_engine *engine,
                        uint32_t drain_ms,
                        runsd_stop_report *report,
                        runsd_error **error);

/**
 * Where an engine is in its life: `RUNSD_RUNNING` and so on; 0 for NULL. Does
 * not block.
 *
 * # Safety
 * `engine` is NULL or not freed.
 */
int32_t runsd_state(const runsd_engine *engine);

/**
 * Writes the `index`-th address of the proxy as `ADDRESS:PORT` into `buffer`,
 * as snprintf would: cut to `capacity` with its NUL, and the length that was
 * needed without it is returned; 0 past the last address. Does not block.
 *
 * # Safety
 * `engine` is NULL or not freed; `buffer` is NULL or has `capacity` writable bytes.
 */
size_t runsd_proxy_addr(const runsd_engine *engine,
                        size_t index,
                        char *buffer,
                        size_t capacity);

/**
 * Writes the `index`-th address where DNS is answered; as `runsd_proxy_addr`.
 *
 * # Safety
 * As `runsd_proxy_addr`.
 */
size_t runsd_dns_addr(const runsd_engine *engine,
                      size_t index,
                      char *buffer,
                      size_t capacity);

/**
 * Frees an engine, and stops it at once if it still runs; NULL is fine. Blocks
 * until its threads have ended.
 *
 * # Safety
 * `engine` is NULL or not freed, and is not used again by any thread.
 */
void runsd_engine_free(runsd_engine *engine);

/**
 * The code of an error; `RUNSD_E_NULL` for NULL. Does not block.
 *
 * # Safety
 * `error` is NULL or an error that has not been freed.
 */
runsd_status runsd_error_code(const runsd_error *error);

/**
 * What happened and what to do, valid until the error is freed; an empty
 * string for NULL. Does not block.
 *
 * # Safety
 * `error` is NULL or an error that has not been freed.
 */
const char *runsd_error_message(const runsd_error *error);

/**
 * The operating system's error number, or 0. Does not block.
 *
 * # Safety
 * `error` is NULL or an error that has not been freed.
 */
int32_t runsd_error_os(const runsd_error *error);

/**
 * Frees an error; NULL is fine.
 *
 * # Safety
 * `error` is NULL or an error that has not been freed, and is not used again.
 */
void runsd_error_free(runsd_error *error);

/**
 * The version of this interface that the library implements. Does not block;
 * any thread.
 */
uint32_t runsd_abi_version(void);

/**
 * The version of the library, `MAJOR.MINOR.PATCH`, as a static string. Does
 * not block; any thread.
 */
const char *runsd_version(void);

/**
 * The name of a status, such as `RUNSD_E_CONFIG`, as a static string; never
 * NULL. Does not block; any thread.
 */
const char *runsd_status_name(runsd_status status);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RUNSD_H */

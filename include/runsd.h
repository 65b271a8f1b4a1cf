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
 * A log record's level: failed for good.
 */
#define RUNSD_LOG_ERROR 1

/**
 * A log record's level: works less well than it should.
 */
#define RUNSD_LOG_WARN 2

/**
 * A log record's level: a milestone.
 */
#define RUNSD_LOG_INFO 3

/**
 * A log record's level: for whoever looks into something odd.
 */
#define RUNSD_LOG_DEBUG 4

/**
 * A log record's level: everything.
 */
#define RUNSD_LOG_TRACE 5

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
 * A running engine. Any thread may use it, several at once. A pointer to one is
 * a number that nobody may follow; it is never used again, so that one which has
 * been freed is told from every other: functions answer `RUNSD_E_STATE`, 0, or
 * nothing at all.
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
 * One log record, borrowed during the call of a log callback.
 */
typedef struct {
  /**
   * The size of this structure in this version of the library.
   */
  size_t size;
  /**
   * `RUNSD_LOG_ERROR` to `RUNSD_LOG_TRACE`.
   */
  int32_t level;
  /**
   * When it was said, in nanoseconds since 1970 in UTC.
   */
  uint64_t unix_ns;
  /**
   * The part of runsd that speaks, such as `dns`.
   */
  const char *target;
  /**
   * One sentence or more, without a final newline and without secrets.
   */
  const char *message;
} runsd_log_record;

/**
 * A log callback: `user` is what `runsd_config_set_log` was given, `record` is
 * valid during the call.
 */
typedef void (*runsd_log_fn)(void *user, const runsd_log_record *record);

/**
 * Gives the `user` of a log callback up.
 */
typedef void (*runsd_drop_fn)(void *user);

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
 * Counts since an engine's start. Set `size` to `sizeof(runsd_stats)` before;
 * fields that the library does not know stay as they are.
 */
typedef struct {
  /**
   * The size of this structure as the caller was compiled with it.
   */
  size_t size;
  /**
   * DNS queries received.
   */
  uint64_t dns_queries;
  /**
   * DNS queries passed to the original nameservers.
   */
  uint64_t dns_forwarded;
  /**
   * DNS queries answered with SERVFAIL.
   */
  uint64_t dns_failed;
  /**
   * Connections that apps opened to the proxy.
   */
  uint64_t proxy_connections;
  /**
   * Requests that apps sent.
   */
  uint64_t proxy_requests;
  /**
   * Requests that the proxy itself answered with an error.
   */
  uint64_t proxy_errors;
  /**
   * Connections opened to services.
   */
  uint64_t upstream_connections;
  /**
   * Requests sent on a connection that had been used before.
   */
  uint64_t upstream_reused;
  /**
   * Tokens fetched from their source.
   */
  uint64_t token_fetches;
  /**
   * Token fetches that failed.
   */
  uint64_t token_failures;
  /**
   * Internal errors caught, each of which ended one exchange.
   */
  uint64_t panics;
} runsd_stats;

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
 * Another engine of this process has it, or the call was made in a log callback.
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
RUNSD_NODISCARD
runsd_status runsd_config_set(runsd_config *config,
                              const char *key,
                              const char *value,
                              runsd_error **error);

/**
 * Sends the log of engines that are started with this configuration to
 * `callback` instead of standard error; the key `log_level` says what is worth
 * a record. Each engine calls it from one thread of its own, one record at a
 * time, and never after `runsd_stop` or `runsd_engine_free` has returned; while
 * it is busy records wait, and those that find no room are counted and told as
 * one record. In it `runsd_stop` and `runsd_wait` answer `RUNSD_E_BUSY`, and
 * `runsd_engine_free` leaves the stopping to another thread.
 *
 * `drop_user`, which may be NULL, is called exactly once with `user`: when the
 * configuration has been freed or given another callback, and the last engine
 * that was started with it has stopped; on the thread where that happens.
 * It is not called if this function fails. Does not block.
 *
 * # Safety
 * `config` is NULL or not freed and used by no other thread; `callback` and
 * `drop_user` may be called with `user` from any thread.
 */
RUNSD_NODISCARD
runsd_status runsd_config_set_log(runsd_config *config,
                                  runsd_log_fn callback,
                                  void *user,
                                  runsd_drop_fn drop_user);

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
 * about 2 s while the metadata server is silent. `RUNSD_E_FORKED` in a process
 * that was forked from one that had an engine.
 *
 * # Safety
 * `config` is NULL or not freed and not being changed; `out` is NULL or
 * writable; `error` is NULL or writable.
 */
RUNSD_NODISCARD
runsd_status runsd_start(const runsd_config *config,
                         runsd_engine **out,
                         runsd_error **error);

/**
 * Stops an engine: restores resolv.conf, refuses new work, lets what is under
 * way finish for at most `drain_ms` milliseconds, then cuts it. `report` may be
 * NULL. Calling it again, or from several threads, gives the same report, and
 * the least `drain_ms` counts. Blocks for at most about that, and for as long as
 * a log callback takes for the last records. The engine must still be freed.
 * `RUNSD_E_BUSY` in the engine's own log callback; `RUNSD_E_FORKED` in a child
 * process, with what to do there.
 *
 * # Safety
 * `report` is NULL or writable, with its `size` set; `error` is NULL or writable.
 */
runsd_status runsd_stop(const runsd_engine *engine,
                        uint32_t drain_ms,
                        runsd_stop_report *report,
                        runsd_error **error);

/**
 * Waits until an engine has stopped or failed, for at most `timeout_ms`
 * milliseconds; a negative number waits without end. `RUNSD_E_TIMEOUT` if it
 * still runs; if it failed, another error whose message is the cause.
 * `RUNSD_E_BUSY` in the engine's own log callback; `RUNSD_E_FORKED` in a child
 * process. Freeing the engine meanwhile stops it, and ends the wait.
 *
 * # Safety
 * `cause` is NULL or writable.
 */
RUNSD_NODISCARD
runsd_status runsd_wait(const runsd_engine *engine,
                        int64_t timeout_ms,
                        runsd_error **cause);

/**
 * Where an engine is in its life: `RUNSD_RUNNING` and so on; 0 for NULL and for
 * one that has been freed. Does not block.
 */
int32_t runsd_state(const runsd_engine *engine);

/**
 * Writes the `index`-th address of the proxy as `ADDRESS:PORT` into `buffer`,
 * as snprintf would: cut to `capacity` with its NUL, and the length that was
 * needed without it is returned; 0 past the last address. Does not block; also
 * in a child process, which the proxy serves too.
 *
 * # Safety
 * `buffer` is NULL or has `capacity` writable bytes.
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
 * Writes the address of the admin endpoint, which the key `admin_addr` asks for;
 * as `runsd_proxy_addr`, and 0 where there is none.
 *
 * # Safety
 * As `runsd_proxy_addr`.
 */
size_t runsd_admin_addr(const runsd_engine *engine, char *buffer, size_t capacity);

/**
 * Frees an engine, and stops it at once if it still runs; NULL is fine, and so is
 * one that has been freed: nothing happens. Blocks until its threads have ended,
 * but in its own log callback, where another thread stops it. In a child process
 * it leaves everything as it is, on purpose.
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
 * Reads the counts of an engine. Does not block; any thread, also in a log
 * callback, and after the engine has stopped. `RUNSD_E_FORKED` in a child
 * process.
 *
 * # Safety
 * `engine` is NULL or not freed; `stats` is NULL or writable, with its `size` set.
 */
RUNSD_NODISCARD
runsd_status runsd_get_stats(const runsd_engine *engine,
                             runsd_stats *stats);

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

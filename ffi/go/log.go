package runsd

// #include <runsd.h>
import "C"

import (
	"context"
	"log/slog"
	"runtime/cgo"
	"time"
	"unsafe"
)

// levelTrace is below slog's own levels, in its customary distance.
const levelTrace = slog.LevelDebug - 4

//export runsdGoLog
func runsdGoLog(user unsafe.Pointer, record *C.runsd_log_record) {
	logger, ok := cgo.Handle(uintptr(user)).Value().(*slog.Logger)
	if !ok {
		return
	}
	level := slog.LevelError
	switch record.level {
	case C.RUNSD_LOG_WARN:
		level = slog.LevelWarn
	case C.RUNSD_LOG_INFO:
		level = slog.LevelInfo
	case C.RUNSD_LOG_DEBUG:
		level = slog.LevelDebug
	case C.RUNSD_LOG_TRACE:
		level = levelTrace
	}
	ctx := context.Background()
	if !logger.Enabled(ctx, level) {
		return
	}
	at := time.Unix(0, int64(record.unix_ns))
	said := slog.NewRecord(at, level, C.GoString(record.message), 0)
	said.AddAttrs(slog.String("logger", "runsd."+C.GoString(record.target)))
	// A handler that fails has nobody left to tell.
	_ = logger.Handler().Handle(ctx, said)
}

//export runsdGoDrop
func runsdGoDrop(user unsafe.Pointer) {
	cgo.Handle(uintptr(user)).Delete()
}

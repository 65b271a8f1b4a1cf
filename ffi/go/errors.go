package runsd

// #include <runsd.h>
import "C"

import "syscall"

// Code says what kind of failure an [Error] is. It is an error itself, so that
// errors.Is finds it: errors.Is(err, runsd.ErrConfig).
type Code int32

// The codes, which are never used for something else.
const (
	ErrConfig    Code = C.RUNSD_E_CONFIG      // a setting is wrong
	ErrState     Code = C.RUNSD_E_STATE       // the call does not fit the engine's state
	ErrBusy      Code = C.RUNSD_E_BUSY        // another engine has it, or called by a log handler
	ErrForked    Code = C.RUNSD_E_FORKED      // the engine is the parent process's
	ErrTimeout   Code = C.RUNSD_E_TIMEOUT     // it took too long
	ErrAddrInUse Code = C.RUNSD_E_ADDR_IN_USE // a port is taken
	ErrDenied    Code = C.RUNSD_E_PERMISSION  // the operating system does not permit it
	ErrIO        Code = C.RUNSD_E_IO          // the operating system failed
	ErrResolv    Code = C.RUNSD_E_RESOLV      // resolv.conf cannot be taken over
	ErrMetadata  Code = C.RUNSD_E_METADATA    // the metadata server does not answer
	ErrInternal  Code = C.RUNSD_E_PANIC       // a defect of runsd
)

// Error returns the name of the code.
func (c Code) Error() string {
	return C.GoString(C.runsd_status_name(C.runsd_status(c)))
}

// An Error is why a call failed.
type Error struct {
	Code    Code
	Message string        // what happened and what to do
	Errno   syscall.Errno // what the operating system said, or 0
}

func (e *Error) Error() string { return "runsd: " + e.Message }

// Unwrap lets errors.Is find the code and the operating system's own error.
func (e *Error) Unwrap() []error {
	if e.Errno == 0 {
		return []error{e.Code}
	}
	return []error{e.Code, e.Errno}
}

// taken makes an error of a status and what came with it, which it frees.
func taken(status C.runsd_status, cause *C.runsd_error) error {
	if status == C.RUNSD_OK {
		return nil
	}
	err := &Error{Code: Code(status), Message: Code(status).Error()}
	if cause != nil {
		err.Message = C.GoString(C.runsd_error_message(cause))
		err.Errno = syscall.Errno(C.runsd_error_os(cause))
		C.runsd_error_free(cause)
	}
	return err
}

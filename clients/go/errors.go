package prisma

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	commonv1 "prisma/common/v1"
)

// Error is an error of a call or of a job, with its details.
type Error struct {
	Code codes.Code
	// Reason is a name of ErrorReason without its prefix, such as "RUN_NOT_FOUND". Empty for errors of gRPC itself.
	Reason  string
	Message string
	// Metadata names resources in full: Metadata["run"] is "runs/{run}".
	Metadata map[string]string
	// Violations are the wrong fields of a request.
	Violations []*errdetails.BadRequest_FieldViolation
	// RetryDelay is how long to wait before the call is repeated; 0 where the server does not say.
	RetryDelay time.Duration
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %s", e.Code, e.Reason, e.Message) }

// ErrorOf returns the details of an error that a call returned; nil where it is no error of a call.
func ErrorOf(err error) *Error {
	var failure *JobFailed
	if errors.As(err, &failure) {
		return errorOfStatus(failure.Job.Error)
	}
	if rpc, ok := status.FromError(err); ok && err != nil {
		return errorOfStatus(rpc.Proto())
	}
	return nil
}

// Reason returns the reason of an error, such as "RUN_NOT_FOUND"; empty where it has none.
func Reason(err error) string {
	if details := ErrorOf(err); details != nil {
		return details.Reason
	}
	return ""
}

func errorOfStatus(response *rpcstatus.Status) *Error {
	result := &Error{Code: codes.Code(response.GetCode()), Message: response.GetMessage()}
	for _, detail := range response.GetDetails() {
		message, err := detail.UnmarshalNew()
		if err != nil {
			continue
		}
		switch part := message.(type) {
		case *errdetails.ErrorInfo:
			result.Reason, result.Metadata = part.Reason, part.Metadata
		case *errdetails.BadRequest:
			result.Violations = part.FieldViolations
		case *errdetails.RetryInfo:
			result.RetryDelay = part.RetryDelay.AsDuration()
		}
	}
	return result
}

// JobFailed is a job that failed or was cancelled. ErrorOf returns its error.
type JobFailed struct{ Job *commonv1.Job }

func (e *JobFailed) Error() string {
	return fmt.Sprintf("%s (%s) ended as %s: %s", e.Job.Name, e.Job.Kind, e.Job.State, e.Job.Error.GetMessage())
}

package prisma

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	commonv1 "prisma/common/v1"
	searchv1 "prisma/search/v1"
)

// Wait follows a job until it has succeeded. While the gateway is unreachable it reconnects, with growing pauses: the job
// goes on meanwhile. Returns *JobFailed, or the error of an outage that lasted longer than the client's patience.
// progress, where not nil, is called with the job after each change.
func (client *Client) Wait(
	ctx context.Context, job *commonv1.Job, progress func(*commonv1.Job),
) (*commonv1.Job, error) {
	var latest *commonv1.Job
	pause, outage := 200*time.Millisecond, time.Time{}
	for {
		err := client.watch(ctx, job.Name, func(update *commonv1.Job) {
			pause, outage = 200*time.Millisecond, time.Time{}
			if progress != nil && !proto.Equal(update, latest) {
				progress(update)
			}
			latest = update
		})
		switch latest.GetState() {
		case commonv1.Job_STATE_SUCCEEDED:
			return latest, nil
		case commonv1.Job_STATE_FAILED, commonv1.Job_STATE_CANCELLED:
			return latest, &JobFailed{latest}
		}
		if err != nil && status.Code(err) != codes.Unavailable {
			return latest, err
		}
		if outage.IsZero() {
			outage = time.Now()
		} else if time.Since(outage) > client.patience {
			return latest, err
		}
		select {
		case <-ctx.Done():
			return latest, ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Second)
		}
	}
}

// watch reads one stream of a job to its end.
func (client *Client) watch(ctx context.Context, name string, progress func(*commonv1.Job)) error {
	stream, err := client.Jobs.WatchJob(ctx, &commonv1.WatchJobRequest{Name: name})
	if err != nil {
		return err
	}
	for {
		update, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return status.Error(codes.Unavailable, "the stream of the job ended early")
		} else if err != nil {
			return err
		}
		progress(update)
	}
}

// WaitForIndex waits until searches find what is stored of a dataset, or of a run where one is named, in streams of the
// index: "documents", "vectors" of a dataset, "codes", "labels" of a run.
func (client *Client) WaitForIndex(ctx context.Context, dataset, resource string, kinds ...string) error {
	for {
		index, err := client.Search.GetIndexStatus(ctx, &searchv1.GetIndexStatusRequest{Dataset: dataset})
		if err != nil {
			return err
		}
		missing := len(kinds)
		for _, stream := range index.Streams {
			for _, kind := range kinds {
				if stream.Current && stream.Kind == kind && stream.Resource == resource {
					missing--
				}
			}
		}
		if missing == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

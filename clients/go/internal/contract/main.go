// Contract shows as JSON what this client makes of golden messages and of a server that breaks calls off. The tests
// compare it with what the other clients show.
//
//	contract GOLDEN_FOLDER ADDRESS
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"prisma"
	commonv1 "prisma/common/v1"
	embedderv1 "prisma/embedder/v1"
)

type object = map[string]any

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := dial(os.Getenv("PRISMA_API_KEY"))
	stranger := dial("a wrong key")
	_, refusal := stranger.Embedder.GetDataset(ctx, &embedderv1.GetDatasetRequest{Name: "datasets/d"})
	result := object{
		"golden":   golden(os.Args[1]),
		"refused":  prisma.Reason(refusal),
		"job":      watched(ctx, client, "jobs/broken"),
		"failure":  watched(ctx, client, "jobs/failing"),
		"pages":    pages(ctx, client),
		"imported": imported(ctx, client),
	}
	dataset, err := client.Embedder.GetDataset(ctx, &embedderv1.GetDatasetRequest{Name: "datasets/d"})
	check(err)
	result["retried"] = dataset.DisplayName
	_, err = client.Embedder.CreateDataset(ctx, &embedderv1.CreateDatasetRequest{DatasetId: "twice"})
	result["not_repeated"] = int(prisma.ErrorOf(err).Code)
	document, err := client.Embedder.GetDocument(ctx, &embedderv1.GetDocumentRequest{Name: "datasets/d/documents/large"})
	check(err)
	result["large"] = len(document.Text)
	output, err := json.Marshal(result)
	check(err)
	os.Stdout.Write(output)
}

func dial(key string) *prisma.Client {
	client, err := prisma.Dial(os.Args[2], prisma.Options{APIKey: key, TLSAuthority: os.Getenv("PRISMA_TLS_AUTHORITY")})
	check(err)
	return client
}

func golden(folder string) object {
	vectors32, vectors16, codes := &commonv1.VectorBlock{}, &commonv1.VectorBlock{}, &commonv1.CodeBlock{}
	failure, job := &rpcstatus.Status{}, &commonv1.Job{}
	for name, message := range map[string]proto.Message{
		"vectors-float32": vectors32, "vectors-float16": vectors16, "codes": codes, "error": failure, "job": job,
	} {
		data, err := os.ReadFile(filepath.Join(folder, name+".binpb"))
		check(err)
		check(proto.Unmarshal(data, message))
	}
	return object{
		"vectors-float32": vectorsOf(vectors32), "vectors-float16": vectorsOf(vectors16), "codes": codesOf(codes),
		"error": errorOf(status.ErrorProto(failure)), "job": jobOf(job),
	}
}

func vectorsOf(block *commonv1.VectorBlock) object {
	vectors, err := prisma.UnpackVectors(block)
	check(err)
	return object{"rows": vectors.Rows, "dimension": vectors.Dimension, "values": numbers(vectors.Values)}
}

func codesOf(block *commonv1.CodeBlock) object {
	codes, err := prisma.UnpackCodes(block)
	check(err)
	return object{
		"rows": codes.Rows, "indptr": codes.Indptr, "indices": codes.Indices, "values": numbers(codes.Values),
		"latent_count": codes.LatentCount,
	}
}

// numbers are written as doubles; JSON has no infinity.
func numbers(values []float32) []any {
	result := make([]any, len(values))
	for index, value := range values {
		if result[index] = float64(value); math.IsInf(float64(value), 0) {
			result[index] = "infinity"
		}
	}
	return result
}

func errorOf(err error) object {
	details := prisma.ErrorOf(err)
	fields := []string{}
	for _, violation := range details.Violations {
		fields = append(fields, violation.Field)
	}
	return object{
		"code": int(details.Code), "reason": details.Reason, "message": details.Message, "metadata": details.Metadata,
		"fields": fields, "retry_seconds": details.RetryDelay.Seconds(),
	}
}

func jobOf(job *commonv1.Job) object {
	return object{
		"name": job.Name, "kind": job.Kind, "state": strings.TrimPrefix(job.State.String(), "STATE_"),
		"resources": job.Resources, "done": job.Progress.Done, "total": job.Progress.Total, "unit": job.Progress.Unit,
		"rate": job.Progress.Rate, "attempt": job.Attempt, "created": job.CreateTime.AsTime().UnixMilli(),
	}
}

// watched are the states that a job went through, and the reason why it failed.
func watched(ctx context.Context, client *prisma.Client, name string) []string {
	states := []string{}
	_, err := client.Wait(ctx, &commonv1.Job{Name: name}, func(job *commonv1.Job) {
		states = append(states, strings.TrimPrefix(job.State.String(), "STATE_"))
	})
	var failure *prisma.JobFailed
	if errors.As(err, &failure) {
		return append(states, prisma.Reason(err))
	}
	check(err)
	return states
}

func pages(ctx context.Context, client *prisma.Client) [][]string {
	var keys [][]string
	request := &embedderv1.ListDocumentsRequest{Parent: "datasets/d", PageSize: 2}
	for page, err := range prisma.Pages(ctx, client.Embedder.ListDocuments, request) {
		check(err)
		var onPage []string
		for _, document := range page.Documents {
			onPage = append(onPage, document.Key)
		}
		keys = append(keys, onPage)
	}
	return keys
}

// imported is the number of documents that the server counts in an import of several chunks.
func imported(ctx context.Context, client *prisma.Client) uint64 {
	text := strings.Repeat("é", 1<<18)
	documents := []prisma.Document{}
	for _, id := range []string{"1", "2", "3", "4", "5"} {
		documents = append(documents, prisma.Document{ID: id, Text: text})
	}
	report, err := client.Import(ctx, "datasets/d", slices.Values(documents))
	check(err)
	return report.ImportedCount
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

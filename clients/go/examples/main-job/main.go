// The main job: import texts, embed them, train a run, name its features, search. Prints a table.
//
//	go run ./examples/main-job DATASET_ID
//
// PRISMA_ADDRESS is the gateway, 127.0.0.1:50050 by default; PRISMA_API_KEY and PRISMA_TLS_AUTHORITY are optional.
package main

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"prisma"
	commonv1 "prisma/common/v1"
	embedderv1 "prisma/embedder/v1"
	interpreterv1 "prisma/interpreter/v1"
	searchv1 "prisma/search/v1"
	trainerv1 "prisma/trainer/v1"
)

var subjects = []string{
	"The ferry to the island", "The tunnel below the city", "The choir of the cathedral", "The recipe for rye bread",
	"The orbit of the comet", "The court of appeal", "The vaccine against measles", "The final of the cup",
	"The price of copper", "The song of the whales",
}

var predicates = []string{
	"was late because of fog", "is described in an old book", "was discussed on the radio", "has changed since spring",
	"surprised the experts", "is older than the town", "costs more than before", "was explained to children",
	"attracts many visitors", "is shown on a stamp", "was measured again", "had to be postponed",
	"appears in a poem", "is a matter of dispute", "was filmed at night", "was studied by students",
	"caused a long debate", "ended in the rain", "is known abroad", "was praised by a critic",
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	client, err := prisma.Dial(cmp.Or(os.Getenv("PRISMA_ADDRESS"), "127.0.0.1:50050"), prisma.Options{
		APIKey: os.Getenv("PRISMA_API_KEY"), TLSAuthority: os.Getenv("PRISMA_TLS_AUTHORITY"),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if err := mainJob(ctx, client, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func documents() iter.Seq[prisma.Document] {
	return func(yield func(prisma.Document) bool) {
		for topic, subject := range subjects {
			for number, predicate := range predicates {
				document := prisma.Document{
					ID:       fmt.Sprintf("%d-%02d", topic, number),
					Text:     subject + " " + predicate + ".",
					Metadata: map[string]any{"topic": topic},
				}
				if !yield(document) {
					return
				}
			}
		}
	}
}

func mainJob(ctx context.Context, client *prisma.Client, id string) error {
	dataset, err := client.Embedder.CreateDataset(ctx, &embedderv1.CreateDatasetRequest{
		DatasetId: id, Dataset: &embedderv1.Dataset{DisplayName: "Clients"},
	})
	if err != nil {
		return err
	}
	imported, err := client.Import(ctx, dataset.Name, documents())
	if err != nil {
		return err
	}
	row("imported", "%d, %d rejected", imported.ImportedCount, imported.RejectedCount)

	if err := finish(ctx, client)(client.Embedder.EmbedDataset(ctx, &embedderv1.EmbedDatasetRequest{
		Name: dataset.Name,
	})); err != nil {
		return err
	}
	dataset, err = client.Embedder.GetDataset(ctx, &embedderv1.GetDatasetRequest{Name: dataset.Name})
	if err != nil {
		return err
	}
	row("embedded", "%d, %d numbers each", dataset.EmbeddedCount, dataset.Dimension)

	run, err := train(ctx, client, dataset.Name, id)
	if err != nil {
		return err
	}
	if err := features(ctx, client, run); err != nil {
		return err
	}
	if err := firstRow(ctx, client, dataset.Name, run); err != nil {
		return err
	}
	if err := search(ctx, client, dataset.Name, run); err != nil {
		return err
	}
	_, err = client.Trainer.GetRun(ctx, &trainerv1.GetRunRequest{Name: "runs/none"})
	if details := prisma.ErrorOf(err); details != nil {
		row("error", "%s, run=%s", details.Reason, details.Metadata["run"])
	}
	return nil
}

// finish follows the job that a call returned until it has succeeded.
func finish(ctx context.Context, client *prisma.Client) func(*commonv1.Job, error) error {
	return func(job *commonv1.Job, err error) error {
		if err == nil {
			_, err = client.Wait(ctx, job, nil)
		}
		return err
	}
}

func train(ctx context.Context, client *prisma.Client, dataset, id string) (string, error) {
	run, err := client.Trainer.CreateRun(ctx, &trainerv1.CreateRunRequest{RunId: id, Run: &trainerv1.Run{
		Dataset: dataset,
		Config: &trainerv1.Config{
			Expansion: proto.Uint32(1), K: proto.Uint32(8), Siblings: proto.Uint32(0), Threads: proto.Uint32(1),
		},
	}})
	if err != nil {
		return "", err
	}
	finish := finish(ctx, client)
	if err := finish(client.Trainer.TrainRun(ctx, &trainerv1.TrainRunRequest{Name: run.Name})); err != nil {
		return "", err
	}
	run, err = client.Trainer.GetRun(ctx, &trainerv1.GetRunRequest{Name: run.Name})
	if err != nil {
		return "", err
	}
	row("trained", "%d latents, %d active", run.LatentCount, run.Config.GetK())
	statistics := &interpreterv1.ComputeStatisticsRequest{Run: run.Name}
	if err := finish(client.Interpreter.ComputeStatistics(ctx, statistics)); err != nil {
		return "", err
	}
	labels := &interpreterv1.LabelFeaturesRequest{Run: run.Name}
	return run.Name, finish(client.Interpreter.LabelFeatures(ctx, labels))
}

func features(ctx context.Context, client *prisma.Client, run string) error {
	pages, features := 0, []*interpreterv1.Feature{}
	request := &interpreterv1.ListFeaturesRequest{Parent: run, PageSize: 100, OrderBy: "index"}
	for page, err := range prisma.Pages(ctx, client.Interpreter.ListFeatures, request) {
		if err != nil {
			return err
		}
		pages++
		features = append(features, page.Features...)
	}
	row("features", "%d in %d pages", len(features), pages)
	features = slices.DeleteFunc(features, func(feature *interpreterv1.Feature) bool {
		return feature.Label.GetText() == ""
	})
	for _, feature := range features[:5] {
		row("", "%d %.4f %s", feature.Index, feature.MaxActivation, feature.Label.Text)
	}
	return nil
}

// firstRow prints the vector and the code of row 0.
func firstRow(ctx context.Context, client *prisma.Client, dataset, run string) error {
	first := []*commonv1.RowRange{{Start: 0, End: 1}}
	vectorStream, err := client.Embedder.ReadVectors(ctx, &embedderv1.ReadVectorsRequest{
		Dataset: dataset, RowRanges: first,
	})
	if err != nil {
		return err
	}
	vectorBlock, err := vectorStream.Recv()
	if err != nil {
		return err
	}
	vectors, err := prisma.UnpackVectors(vectorBlock.Vectors)
	if err != nil {
		return err
	}
	var numbers []string
	for _, value := range vectors.Vector(0)[:4] {
		numbers = append(numbers, fmt.Sprintf("%.4f", value))
	}
	row("vector", "%s ...", strings.Join(numbers, " "))

	codeStream, err := client.Trainer.ReadCodes(ctx, &trainerv1.ReadCodesRequest{Run: run, RowRanges: first})
	if err != nil {
		return err
	}
	codeBlock, err := codeStream.Recv()
	if err != nil {
		return err
	}
	codes, err := prisma.UnpackCodes(codeBlock.Codes)
	if err != nil {
		return err
	}
	var pairs []string
	latents, activations := codes.Code(0)
	for index, latent := range latents {
		pairs = append(pairs, fmt.Sprintf("%d:%.4f", latent, activations[index]))
	}
	row("code", "%s", strings.Join(pairs, " "))
	return nil
}

func search(ctx context.Context, client *prisma.Client, dataset, run string) error {
	for resource, kinds := range map[string][]string{dataset: {"documents", "vectors"}, run: {"codes", "labels"}} {
		if err := client.WaitForIndex(ctx, dataset, resource, kinds...); err != nil {
			return err
		}
	}
	for _, mode := range []searchv1.SearchDocumentsRequest_Mode{
		searchv1.SearchDocumentsRequest_MODE_FULL_TEXT, searchv1.SearchDocumentsRequest_MODE_SEMANTIC,
		searchv1.SearchDocumentsRequest_MODE_SPARSE, searchv1.SearchDocumentsRequest_MODE_HYBRID,
	} {
		found, err := client.Search.SearchDocuments(ctx, &searchv1.SearchDocumentsRequest{
			Parent: dataset, Query: "fog on the way to the island", Mode: mode, Run: run, PageSize: 3,
		})
		if err != nil {
			return err
		}
		var hits []string
		for _, hit := range found.Hits {
			hits = append(hits, fmt.Sprintf("%s %.4f", hit.Key, hit.Score))
		}
		name := strings.ToLower(strings.TrimPrefix(mode.String(), "MODE_"))
		row(name, "%s", strings.Join(hits, ", "))
	}
	return nil
}

func row(name, format string, values ...any) {
	fmt.Println(strings.TrimSpace(fmt.Sprintf("%-10s %s", name, fmt.Sprintf(format, values...))))
}

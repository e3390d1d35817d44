package prisma

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"

	embedderv1 "prisma/embedder/v1"
)

// Document is a text to import.
type Document struct {
	ID       string         `json:"id"`
	Text     string         `json:"text"`
	Metadata map[string]any `json:"metadata,omitempty"`
}

const chunkBytes = 1 << 20

// Import streams documents into a dataset, "datasets/{dataset}", and reports which were rejected.
func (client *Client) Import(
	ctx context.Context, dataset string, documents iter.Seq[Document],
) (*embedderv1.ImportDocumentsResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Embedder.ImportDocuments(ctx)
	if err != nil {
		return nil, err
	}
	config := &embedderv1.ImportDocumentsRequest_Config{
		Dataset: dataset, Format: embedderv1.FileLayout_FORMAT_JSON_LINES,
	}
	err = stream.Send(&embedderv1.ImportDocumentsRequest{
		Message: &embedderv1.ImportDocumentsRequest_Config_{Config: config},
	})
	var chunk bytes.Buffer
	lines := json.NewEncoder(&chunk)
	send := func() {
		if err == nil {
			part := &embedderv1.ImportDocumentsRequest_Chunk{Chunk: bytes.Clone(chunk.Bytes())}
			err = stream.Send(&embedderv1.ImportDocumentsRequest{Message: part})
			chunk.Reset()
		}
	}
	for document := range documents {
		if invalid := lines.Encode(document); invalid != nil {
			return nil, invalid
		}
		if chunk.Len() >= chunkBytes {
			send()
		}
		if err != nil {
			break
		}
	}
	send()
	if err != nil && !errors.Is(err, io.EOF) { // the server ended the call: the response says why
		return nil, err
	}
	return stream.CloseAndRecv()
}

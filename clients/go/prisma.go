// Package prisma is a client of PRISMA: one connection to its gateway, over which all services are called.
//
// The services' stubs are fields of Client, and the messages are those of the generated packages. The package adds what
// stubs do not do: TLS and API key, retries of calls that only read, jobs that are followed through outages, pages,
// imports from an iterator, vectors and codes as slices, and errors by reason.
package prisma

//go:generate go run ./internal/stubs ../../protos/python/prisma/prisma.binpb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	commonv1 "prisma/common/v1"
	embedderv1 "prisma/embedder/v1"
	interpreterv1 "prisma/interpreter/v1"
	searchv1 "prisma/search/v1"
	trainerv1 "prisma/trainer/v1"
)

const maxMessageBytes = 64 << 20

// Options of a client. The zero value is a connection without TLS or key.
type Options struct {
	// TLS encrypts the connection, and trusts the system's authorities.
	TLS bool
	// TLSAuthority holds the authority that signed the server's certificate, as PEM. Implies TLS.
	TLSAuthority string
	// APIKey is sent with each call. Only over TLS, unless the server is on this machine.
	APIKey string
	// Patience is how long an outage may last while a job is followed; 10 minutes by default.
	Patience time.Duration
}

// Client is a connection to a gateway.
type Client struct {
	Embedder    embedderv1.EmbedderServiceClient
	Trainer     trainerv1.TrainerServiceClient
	Interpreter interpreterv1.InterpreterServiceClient
	Search      searchv1.SearchServiceClient
	Jobs        commonv1.JobServiceClient
	Status      commonv1.StatusServiceClient

	connection *grpc.ClientConn
	patience   time.Duration
}

// Dial returns a client of the gateway at an address such as "127.0.0.1:50050". It connects at the first call.
func Dial(address string, options Options) (*Client, error) {
	transport, err := transportCredentials(options)
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(apiKey(options.APIKey)),
		grpc.WithDefaultServiceConfig(serviceConfig()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	)
	if err != nil {
		return nil, err
	}
	patience := options.Patience
	if patience == 0 {
		patience = 10 * time.Minute
	}
	return &Client{
		Embedder:    embedderv1.NewEmbedderServiceClient(connection),
		Trainer:     trainerv1.NewTrainerServiceClient(connection),
		Interpreter: interpreterv1.NewInterpreterServiceClient(connection),
		Search:      searchv1.NewSearchServiceClient(connection),
		Jobs:        commonv1.NewJobServiceClient(connection),
		Status:      commonv1.NewStatusServiceClient(connection),
		connection:  connection,
		patience:    patience,
	}, nil
}

// Close ends the connection.
func (client *Client) Close() error { return client.connection.Close() }

func transportCredentials(options Options) (credentials.TransportCredentials, error) {
	switch {
	case options.TLSAuthority != "":
		authority, err := os.ReadFile(options.TLSAuthority)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(authority) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", options.TLSAuthority)
		}
		return credentials.NewTLS(&tls.Config{RootCAs: pool}), nil
	case options.TLS:
		return credentials.NewTLS(nil), nil
	default:
		return insecure.NewCredentials(), nil
	}
}

// apiKey is sent as a bearer token; an empty one is not sent.
type apiKey string

func (key apiKey) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if key == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + string(key)}, nil
}

func (apiKey) RequireTransportSecurity() bool { return false }

// serviceConfig retries calls that only read while no server is reachable; others might be done twice.
func serviceConfig() string {
	type name struct {
		Service string `json:"service"`
		Method  string `json:"method"`
	}
	var names []name
	for _, file := range []protoreflect.FileDescriptor{
		commonv1.File_prisma_common_v1_job_proto,
		commonv1.File_prisma_common_v1_status_proto,
		embedderv1.File_prisma_embedder_v1_embedder_service_proto,
		trainerv1.File_prisma_trainer_v1_trainer_service_proto,
		interpreterv1.File_prisma_interpreter_v1_interpreter_service_proto,
		searchv1.File_prisma_search_v1_search_service_proto,
	} {
		for service := range file.Services().Len() {
			methods := file.Services().Get(service).Methods()
			for index := range methods.Len() {
				method := methods.Get(index)
				if proto.GetExtension(method.Options(), commonv1.E_RequiredScope) == commonv1.Scope_SCOPE_READ {
					names = append(names, name{string(method.Parent().FullName()), string(method.Name())})
				}
			}
		}
	}
	config, err := json.Marshal(map[string]any{"methodConfig": []any{map[string]any{
		"name": names,
		"retryPolicy": map[string]any{
			"maxAttempts": 4, "initialBackoff": "0.2s", "maxBackoff": "2s", "backoffMultiplier": 2,
			"retryableStatusCodes": []string{"UNAVAILABLE"},
		},
	}}})
	if err != nil {
		panic(err)
	}
	return string(config)
}

package prisma

import (
	"context"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Page is a response of a method that lists.
type Page interface{ GetNextPageToken() string }

// Pages yields all pages of a list, such as those of client.Embedder.ListDocuments, from that of the request's page_token.
// It ends with an error where a call fails.
func Pages[Request proto.Message, Response Page](
	ctx context.Context,
	list func(context.Context, Request, ...grpc.CallOption) (Response, error),
	request Request,
) iter.Seq2[Response, error] {
	next := proto.CloneOf(request)
	field := next.ProtoReflect().Descriptor().Fields().ByName("page_token")
	return func(yield func(Response, error) bool) {
		for {
			page, err := list(ctx, next)
			if !yield(page, err) || err != nil || page.GetNextPageToken() == "" {
				return
			}
			next.ProtoReflect().Set(field, protoreflect.ValueOfString(page.GetNextPageToken()))
		}
	}
}

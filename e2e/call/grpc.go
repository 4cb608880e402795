package call

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	service = "weft.e2e.Echo"
	method  = "Say"
)

// Sayer answers the gRPC method Say: a text with a text.
type Sayer interface {
	Say(ctx context.Context, text string) (string, error)
}

// Serve registers the method at a gRPC server.
func Serve(server *grpc.Server, sayer Sayer) {
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: service, HandlerType: (*Sayer)(nil),
		Methods: []grpc.MethodDesc{{MethodName: method, Handler: say}},
	}, sayer)
}

func say(on any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var text wrapperspb.StringValue
	if err := read(&text); err != nil {
		return nil, err
	}
	answer, err := on.(Sayer).Say(ctx, text.Value)
	return wrapperspb.String(answer), err
}

// Say calls the method over a connection.
func Say(ctx context.Context, conn *grpc.ClientConn, text string) (string, error) {
	var answer wrapperspb.StringValue
	err := conn.Invoke(ctx, "/"+service+"/"+method, wrapperspb.String(text), &answer)
	return answer.Value, err
}

func (r Request) grpc(ctx context.Context) (Outcome, error) {
	conn, err := grpc.NewClient("passthrough:///"+r.Address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(r.Host),
		grpc.WithDisableRetry())
	if err != nil {
		return Outcome{}, err
	}
	defer conn.Close()
	if r.Protocol == Health {
		return Outcome{}, healthy(ctx, conn)
	}
	for name, value := range r.Headers {
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	answer, err := Say(ctx, conn, r.Text)
	if err != nil {
		return Outcome{}, err
	}
	return decode([]byte(answer))
}

func healthy(ctx context.Context, conn *grpc.ClientConn) error {
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err == nil && answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		err = errors.New(answer.Status.String())
	}
	return err
}

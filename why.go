package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/controllers"
	"github.com/weft-mesh/weft/internal/authz/query"
	"github.com/weft-mesh/weft/internal/why"
)

// How weft why ends.
const (
	notAllowed = 1
	inError    = 2
)

// explanation is a run of weft why.
type explanation struct {
	out   io.Writer
	now   time.Time
	files func(name string) ([]byte, error)
	// cluster is who is asked for objects.
	cluster func(*runtime.Scheme) (client.Reader, error)
	authz   asking // for what was decided
}

func explain(ctx context.Context, args []string) error {
	ctrl.SetLogger(logr.Discard())
	return explanation{os.Stdout, time.Now(), os.ReadFile, connect, askAuthz}.run(ctx, args)
}

// run answers what the arguments ask.
func (e explanation) run(ctx context.Context, args []string) error {
	asked, err := why.Parse(args, e.now, e.files, withKubeconfig)
	if err != nil {
		return exit{inError, err}
	}
	var answer why.Answer
	if asked.ID != "" {
		answer, err = e.recall(ctx, asked.ID)
	} else {
		answer, err = e.answer(ctx, asked.Question)
	}
	if err == nil {
		err = answer.Write(e.out, asked.JSON)
	}
	switch {
	case err != nil:
		return exit{inError, err}
	case !answer.Allowed:
		return exit{code: notAllowed}
	}
	return nil
}

func (e explanation) answer(ctx context.Context, q why.Question) (why.Answer, error) {
	scheme, err := controllers.Scheme()
	if err != nil {
		return why.Answer{}, err
	}
	from, err := e.cluster(scheme)
	if err != nil {
		return why.Answer{}, err
	}
	m, err := controllers.Snapshot(ctx, from, scheme)
	if err != nil {
		return why.Answer{}, err
	}
	return why.Explain(m, q)
}

// recall explains what was decided on a request, by what policies said then.
func (e explanation) recall(ctx context.Context, id string) (why.Answer, error) {
	var found query.Found
	err := e.authz(ctx, func(c query.Client) (err error) {
		found, err = c.Find(ctx, id)
		return err
	})
	switch {
	case err != nil:
		return why.Answer{}, err
	case len(found.Records) == 0:
		return why.Answer{}, fmt.Errorf("nothing is remembered of request %s: since %s, %d decisions have been dropped for newer ones, and those that let a request in are told of with decisionLog.decisions: All of the Mesh only", id, found.Since.Format(time.RFC3339), found.Window.Dropped)
	}
	out := why.Answer{Allowed: true}
	for _, r := range found.Records {
		one, err := why.Recorded(r, found.Policies)
		if err != nil {
			return why.Answer{}, err
		}
		out.Allowed = out.Allowed && one.Allowed
		out.Explanations = append(out.Explanations, one)
	}
	return out, nil
}

func connect(s *runtime.Scheme) (client.Reader, error) {
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	config.QPS, config.Burst = 50, 100 // a list of each kind
	c, err := client.New(config, client.Options{Scheme: s})
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return c, nil
}

// exit is the end of a command that tells by its code what came of it. Without an error there is nothing to say.
type exit struct {
	code int
	error
}

// Error is that of the error, or the code.
func (e exit) Error() string {
	if e.error == nil {
		return fmt.Sprint("exit status ", e.code)
	}
	return e.error.Error()
}

// Unwrap is the error, if there is one.
func (e exit) Unwrap() error { return e.error }

package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// steps runs steps in order and reports each with the time since the start.
type steps struct {
	began time.Time
}

func (s steps) do(ctx context.Context, name string, step func(context.Context) error) error {
	began := time.Now()
	if err := step(ctx); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	now := time.Now()
	fmt.Fprintf(os.Stderr, "%6.1fs  %-28s %5.1fs\n", now.Sub(s.began).Seconds(), name, now.Sub(began).Seconds())
	return nil
}

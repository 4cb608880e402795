// Package process runs the cluster's background processes and finds them again.
//
// No pid file is kept: each process carries a mark in its environment, so that
// what a killed run left is found, and a pid that another program got since is
// never taken for ours.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const mark = "WEFT_CLUSTER_PROCESS_OF="

// Spec describes a background process.
type Spec struct {
	// Name is the process's argv[0] and names its log.
	Name string
	// Path is its executable.
	Path string
	Args []string
}

// Table is the processes of one cluster.
type Table struct {
	// Owner tells clusters apart: the state folder.
	Owner string
	// Logs is the folder for their output.
	Logs string
}

// Start runs a process in a session of its own, unless it runs already.
func (t Table) Start(spec Spec) error {
	if _, running, err := t.Find(spec.Name); err != nil || running {
		return err
	}
	log, err := t.openLog(spec.Name)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Args[0] = spec.Name
	cmd.Env = append(os.Environ(), mark+t.Owner)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", spec.Name, err)
	}
	go func() { _ = cmd.Wait() }()
	return nil
}

func (t Table) openLog(name string) (*os.File, error) {
	if err := os.MkdirAll(t.Logs, 0o755); err != nil {
		return nil, fmt.Errorf("make the log folder: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(t.Logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	return log, nil
}

// Find returns the pid of a running process of the table.
func (t Table) Find(name string) (pid int, running bool, err error) {
	members, err := t.members()
	if err != nil {
		return 0, false, err
	}
	for _, m := range members {
		if m.name == name {
			return m.pid, true, nil
		}
	}
	return 0, false, nil
}

// Stop ends a process: SIGTERM, and SIGKILL when grace has passed.
func (t Table) Stop(ctx context.Context, name string, grace time.Duration) error {
	return t.end(ctx, func(m member) bool { return m.name == name }, grace)
}

// StopAll ends every process of the table, also those that its processes started.
func (t Table) StopAll(ctx context.Context, grace time.Duration) error {
	return t.end(ctx, func(member) bool { return true }, grace)
}

func (t Table) end(ctx context.Context, match func(member) bool, grace time.Duration) error {
	killAt := time.Now().Add(grace)
	asked := map[int]bool{}
	for {
		members, err := t.members()
		if err != nil {
			return err
		}
		remaining := 0
		for _, m := range members {
			if !match(m) {
				continue
			}
			remaining++
			if err := t.signal(m, asked, time.Now().After(killAt)); err != nil {
				return err
			}
		}
		if remaining == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d processes to end: %w", remaining, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// signal asks once and then, past the grace time, kills. The handle is a pidfd:
// once the mark was read through it, the pid cannot have passed to another program.
func (t Table) signal(m member, asked map[int]bool, kill bool) error {
	handle, err := os.FindProcess(m.pid)
	if err != nil {
		return fmt.Errorf("open process %d: %w", m.pid, err)
	}
	defer handle.Release()
	if !t.owns(m.pid) || (asked[m.pid] && !kill) {
		return nil
	}
	signal := syscall.SIGTERM
	if kill {
		signal = syscall.SIGKILL
	}
	asked[m.pid] = true
	if err := handle.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s (%d): %w", m.name, m.pid, err)
	}
	return nil
}

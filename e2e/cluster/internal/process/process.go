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
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	mark         = "WEFT_CLUSTER_PROCESS_OF="
	killInterval = 20 * time.Millisecond
)

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

// Adopt marks every program that this one runs from now on, so that Kill also
// finds those that outlive it when it is killed, and keeps its own files from them.
func (t Table) Adopt() error {
	if err := os.Setenv(strings.TrimSuffix(mark, "="), t.Owner); err != nil {
		return fmt.Errorf("mark the programs of this run: %w", err)
	}
	return keepFiles()
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
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.marked(cmd.Process.Pid, ended)
	return nil
}

// marked returns once a new process carries the mark, or has ended. A program begins to run before the kernel has put
// its environment in place: until then Find would not see it, and who waits for it would take it for ended.
func (t Table) marked(pid int, ended <-chan struct{}) {
	for !t.owns(pid) {
		select {
		case <-ended:
			return
		case <-time.After(time.Millisecond):
		}
	}
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

// lastLines is how much of a log LastLines returns, in bytes.
const lastLines = 4 << 10

// LastLines returns the end of what a process of the table printed, and where the rest is.
func (t Table) LastLines(name string) string {
	path := filepath.Join(t.Logs, name+".log")
	printed, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("the end of %s:\n%s", path, printed[max(0, len(printed)-lastLines):])
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

// Kill ends every process of the table, also those that its processes started,
// and waits until all are gone.
func (t Table) Kill(ctx context.Context) error {
	for {
		members, err := t.members()
		if err != nil || len(members) == 0 {
			return err
		}
		for _, m := range members {
			if err := t.kill(m); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d processes to end: %w", len(members), ctx.Err())
		case <-time.After(killInterval):
		}
	}
}

// End kills the processes of one name, without what they started, and waits until they are gone.
func (t Table) End(ctx context.Context, name string) error {
	for {
		members, err := t.members()
		if err != nil {
			return err
		}
		members = slices.DeleteFunc(members, func(m member) bool { return m.name != name })
		if len(members) == 0 {
			return nil
		}
		for _, m := range members {
			if err := t.kill(m); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to end: %w", name, ctx.Err())
		case <-time.After(killInterval):
		}
	}
}

// kill holds a pidfd: once the mark was read after it was opened, the pid cannot
// pass to another program before the signal.
func (t Table) kill(m member) error {
	handle, err := os.FindProcess(m.pid)
	if err != nil {
		return fmt.Errorf("open process %d: %w", m.pid, err)
	}
	defer handle.Release()
	if !t.owns(m.pid) {
		return nil
	}
	if err := handle.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s (%d): %w", m.name, m.pid, err)
	}
	return nil
}

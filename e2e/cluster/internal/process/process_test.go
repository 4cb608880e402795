package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func newTable(t *testing.T) Table {
	t.Helper()
	table := Table{Owner: t.TempDir(), Logs: t.TempDir()}
	t.Cleanup(func() {
		if err := table.Kill(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return table
}

func sleeper(t *testing.T, name string) Spec {
	t.Helper()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell")
	}
	// The inner sleep stands for what a process starts and leaves behind.
	return Spec{Name: name, Path: shell, Args: []string{"-c", "sleep 300 & wait"}}
}

func find(t *testing.T, table Table, name string) (int, bool) {
	t.Helper()
	pid, running, err := table.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return pid, running
}

func TestStartIsIdempotent(t *testing.T) {
	table := newTable(t)
	spec := sleeper(t, "one")
	if err := table.Start(spec); err != nil {
		t.Fatal(err)
	}
	first, running := find(t, table, "one")
	if !running {
		t.Fatal("the process is not found")
	}
	if err := table.Start(spec); err != nil {
		t.Fatal(err)
	}
	if again, _ := find(t, table, "one"); again != first {
		t.Errorf("a second process %d started beside %d", again, first)
	}
}

// TestStartedIsFound: what was started runs as soon as Start returns, for whoever asks then.
func TestStartedIsFound(t *testing.T) {
	table := newTable(t)
	for i := range 100 {
		spec := sleeper(t, fmt.Sprint("started", i))
		if err := table.Start(spec); err != nil {
			t.Fatal(err)
		}
		if _, running := find(t, table, spec.Name); !running {
			t.Fatalf("%s is not found", spec.Name)
		}
	}
}

// TestLastLines: of a process that ended, what it said last is told.
func TestLastLines(t *testing.T) {
	table := newTable(t)
	spec := sleeper(t, "one")
	spec.Args = []string{"-c", "yes noise | head -c 100000; echo cannot go on >&2"}
	if err := table.Start(spec); err != nil {
		t.Fatal(err)
	}
	for running := true; running; {
		_, running = find(t, table, "one")
	}
	said := table.LastLines("one")
	if !strings.HasSuffix(said, "cannot go on\n") || len(said) > 2*lastLines {
		t.Errorf("%d bytes are told: %q", len(said), said)
	}
}

// TestProcessesKeepNoFileOfTheCaller: a lock under which the cluster was started must not last as
// long as the cluster.
func TestProcessesKeepNoFileOfTheCaller(t *testing.T) {
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil { // children inherit these
		t.Fatal(err)
	}
	defer func() { _, _ = syscall.Close(ends[0]), syscall.Close(ends[1]) }()
	pipe, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", ends[1]))
	if err != nil {
		t.Fatal(err)
	}
	if err := keepFiles(); err != nil {
		t.Fatal(err)
	}
	table := newTable(t)
	if err := table.Start(sleeper(t, "one")); err != nil {
		t.Fatal(err)
	}
	pid, _ := find(t, table, "one")
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(files) < 3 {
		t.Fatalf("its files are %v: %v", files, err)
	}
	for _, file := range files {
		if to, _ := os.Readlink(file); to == pipe {
			t.Errorf("it holds a file of the caller: %s", file)
		}
	}
}

func TestKillEndsDescendantsAndNothingElse(t *testing.T) {
	table, other := newTable(t), newTable(t)
	if err := table.Start(sleeper(t, "one")); err != nil {
		t.Fatal(err)
	}
	if err := other.Start(sleeper(t, "one")); err != nil {
		t.Fatal(err)
	}
	waitForMembers(t, table, 2) // the shell and its child
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := table.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if members, err := table.members(); err != nil || len(members) != 0 {
		t.Errorf("members after Kill: %v (%v)", members, err)
	}
	if _, running := find(t, other, "one"); !running {
		t.Error("a process of another table was killed")
	}
}

func waitForMembers(t *testing.T, table Table, want int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		members, err := table.members()
		if err != nil {
			t.Fatal(err)
		}
		if len(members) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d members, want %d", len(members), want)
		}
		time.Sleep(killInterval)
	}
}

func TestStartNamesTheMissingProgram(t *testing.T) {
	err := newTable(t).Start(Spec{Name: "ghost", Path: "/nowhere/ghost"})
	if err == nil || !strings.Contains(err.Error(), "start ghost") {
		t.Errorf("Start says %v", err)
	}
}

func TestOwnerOf(t *testing.T) {
	for environ, want := range map[string]string{
		mark + "/state":                      "/state",
		"A=b\x00" + mark + "/state\x00C=d":   "/state",
		mark + "/state-of-another":           "/state-of-another",
		"X" + mark + "/state":                "",
		"A=" + mark + "/state":               "",
		"":                                   "",
		strings.ToLower(mark) + "/state\x00": "",
	} {
		if got, marked := ownerOf([]byte(environ)); got != want || marked != (want != "") {
			t.Errorf("ownerOf(%q) = %q, %v; want %q", environ, got, marked, want)
		}
	}
}

func TestConflict(t *testing.T) {
	table := Table{Owner: "/ours"}
	for _, tt := range []struct{ name, environ, want string }{
		{"kubelet", mark + "/ours", ""},
		{"kubelet", mark + "/theirs", "WEFT_CLUSTER_DIR=/theirs"},
		{"/usr/bin/kubelet", "PATH=/bin", "node of another cluster"},
		{"etcd", "PATH=/bin", ""},
		{"etcd", mark + "/theirs", ""},
	} {
		err := table.conflict(7, tt.name, []byte(tt.environ))
		if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("conflict(%s, %s) = %v, want %q", tt.name, tt.environ, err, tt.want)
		}
	}
}

func TestEndEndsOneNameAlone(t *testing.T) {
	table := newTable(t)
	for _, name := range []string{"one", "two"} {
		if err := table.Start(sleeper(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	waitForMembers(t, table, 4) // each with its child
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := table.End(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	if _, running := find(t, table, "one"); running {
		t.Error("the process runs on")
	}
	if _, running := find(t, table, "two"); !running {
		t.Error("a process of another name was killed")
	}
}

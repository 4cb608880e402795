package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

type member struct {
	pid  int
	name string
}

// members lists the running processes that carry the table's mark.
func (t Table) members() ([]member, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []member
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() || !t.owns(pid) {
			continue
		}
		found = append(found, member{pid: pid, name: firstArgument(pid)})
	}
	return found, nil
}

// owns reports whether a live process carries the mark. A process that ended
// meanwhile, and a zombie, has no environment.
func (t Table) owns(pid int) bool {
	environ, err := os.ReadFile(procfs(pid, "environ"))
	return err == nil && marked(environ, t.variable())
}

func marked(environ []byte, variable string) bool {
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		if string(entry) == variable {
			return true
		}
	}
	return false
}

func firstArgument(pid int) string {
	cmdline, err := os.ReadFile(procfs(pid, "cmdline"))
	if err != nil {
		return ""
	}
	first, _, _ := bytes.Cut(cmdline, []byte{0})
	return string(first)
}

func procfs(pid int, file string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), file)
}

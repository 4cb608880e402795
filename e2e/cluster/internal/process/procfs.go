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
	pids, err := pids()
	if err != nil {
		return nil, err
	}
	var found []member
	for _, pid := range pids {
		if t.owns(pid) {
			found = append(found, member{pid: pid, name: firstArgument(pid)})
		}
	}
	return found, nil
}

// pids lists all processes but this one.
func pids() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var list []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && pid != os.Getpid() {
			list = append(list, pid)
		}
	}
	return list, nil
}

// owns reports whether a live process carries the mark. A process that ended
// meanwhile, and a zombie, has no environment.
func (t Table) owns(pid int) bool {
	environ, err := os.ReadFile(procfs(pid, "environ"))
	if err != nil {
		return false
	}
	owner, marked := ownerOf(environ)
	return marked && owner == t.Owner
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

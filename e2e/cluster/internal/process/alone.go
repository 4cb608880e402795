package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// CheckAlone fails when another cluster's kubelet runs on the machine: links,
// ports and the control groups of pods exist once, so that two clusters would
// destroy each other.
func (t Table) CheckAlone() error {
	pids, err := pids()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		environ, err := os.ReadFile(procfs(pid, "environ"))
		if err != nil {
			continue // it ended meanwhile
		}
		if err := t.conflict(pid, firstArgument(pid), environ); err != nil {
			return err
		}
	}
	return nil
}

func (t Table) conflict(pid int, name string, environ []byte) error {
	owner, marked := ownerOf(environ)
	switch {
	case filepath.Base(name) != "kubelet" || (marked && owner == t.Owner):
		return nil
	case marked:
		return fmt.Errorf("a cluster in %[1]s runs (kubelet %[2]d): run `down` with WEFT_CLUSTER_DIR=%[1]s first", owner, pid)
	default:
		return fmt.Errorf("a kubelet that is not Weft's runs (process %d): this machine is a node of another cluster", pid)
	}
}

// ownerOf returns the state folder of the cluster that a process belongs to.
func ownerOf(environ []byte) (owner string, marked bool) {
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		if value, found := bytes.CutPrefix(entry, []byte(mark)); found {
			return string(value), true
		}
	}
	return "", false
}

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// podGroups are the control groups that hold every process of every pod: one per
// controller with version 1, a single one with version 2.
var podGroups = []string{"/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/*/kubepods"}

// EndPods kills every process of every pod and deletes the pods' control groups.
func EndPods(ctx context.Context) error {
	for {
		groups, err := podGroupFolders()
		if err != nil {
			return err
		}
		pids := groupProcesses(groups)
		if len(pids) == 0 {
			return removeGroups(groups)
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill process %d of a pod: %w", pid, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d processes of pods to end: %w", len(pids), ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// podGroupFolders lists the groups, inner ones first.
func podGroupFolders() ([]string, error) {
	var folders []string
	for _, pattern := range podGroups {
		roots, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("list control groups: %w", err)
		}
		for _, root := range roots {
			err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					folders = append(folders, path)
				}
				return nil
			})
			if err != nil {
				return nil, fmt.Errorf("list control groups: %w", err)
			}
		}
	}
	slices.Reverse(folders)
	return folders, nil
}

func groupProcesses(groups []string) []int {
	var pids []int
	for _, group := range groups {
		data, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func removeGroups(groups []string) error {
	var errs []error
	for _, group := range groups {
		if err := os.Remove(group); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("delete control group: %w", err))
		}
	}
	return errors.Join(errs...)
}

package process

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// keepFiles has no program that this one runs inherit the files that this one was given besides its
// standard ones. One of them may be a lock of the caller's, which would last as long as the cluster.
func keepFiles() error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list the open files: %w", err)
	}
	for _, file := range open {
		if n, err := strconv.Atoi(file.Name()); err == nil && n > syscall.Stderr {
			syscall.CloseOnExec(n)
		}
	}
	return nil
}

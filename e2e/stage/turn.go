package stage

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// TakeTurn waits until no other process tests on this machine: two would roll each other's proxies.
// The turn ends with the process.
func TakeTurn() error {
	path := filepath.Join(os.TempDir(), "weft-e2e.lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return err
	}
	if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		turn = file
		return nil
	}
	fmt.Fprintln(os.Stderr, "waiting for another process that tests on this machine")
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	turn = file
	return nil
}

// turn keeps the lock's file open until the process ends.
var turn *os.File

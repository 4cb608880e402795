package stage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// TakeTurn waits until no other process tests on this machine: two would roll each other's proxies.
// The turn is the process's, for all of its tests, and ends with it.
var TakeTurn = sync.OnceValue(takeTurn)

func takeTurn() error {
	path := filepath.Join(os.TempDir(), "weft-e2e.lock")
	// Not an os.File, which the garbage collector would close.
	lock, err := syscall.Open(path, syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC, 0o666)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	err = syscall.Flock(lock, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		fmt.Fprintln(os.Stderr, "waiting for another process that tests on this machine")
		err = syscall.Flock(lock, syscall.LOCK_EX)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	return nil
}

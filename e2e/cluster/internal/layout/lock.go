package layout

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Lock waits for and takes the lock that a file stands for. The kernel releases
// it when the process ends, however it ends.
func Lock(path string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of lock %s: %w", path, err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock %s: %w", path, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("take lock %s: %w", path, err)
	}
	return func() { file.Close() }, nil
}

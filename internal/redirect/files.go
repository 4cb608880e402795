package redirect

import (
	"fmt"
	"os"
	"path/filepath"
)

// A File is one that the proxy watches. It is alone in its directory, as Envoy looks at the directory.
type File struct {
	Path    string
	Content []byte
}

// WriteFiles makes each file whole or not at all, and readable by any user: what they hold are
// paths, no secrets. Unfinished ones are made in folder, which must be on the same file system.
func WriteFiles(folder string, files []File) error {
	for _, f := range files {
		if err := writeFile(folder, f); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
	}
	return nil
}

func writeFile(folder string, f File) error {
	if err := readableFolder(filepath.Dir(f.Path)); err != nil {
		return err
	}
	fresh, err := os.CreateTemp(folder, ".unfinished-")
	if err != nil {
		return err
	}
	defer os.Remove(fresh.Name()) // it has moved away unless something failed
	_, err = fresh.Write(f.Content)
	if err == nil {
		err = fresh.Chmod(0o644)
	}
	if closed := fresh.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(fresh.Name(), f.Path)
}

// readableFolder does not leave the mode to the process's umask.
func readableFolder(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

package image

import (
	"archive/tar"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Accounts that an image knows: root, and the one that distroless images use.
const (
	passwd = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
	group  = "root:x:0:\nnonroot:x:65532:\n"
)

func (i Image) writeLayer(w io.Writer) error {
	layer := tar.NewWriter(w)
	if err := i.writeFolders(layer); err != nil {
		return err
	}
	if err := writeEntry(layer, "etc/group", 0o644, []byte(group)); err != nil {
		return err
	}
	if err := writeEntry(layer, "etc/passwd", 0o644, []byte(passwd)); err != nil {
		return err
	}
	files := slices.SortedFunc(slices.Values(i.Files), func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for _, file := range files {
		if err := writeFile(layer, file); err != nil {
			return err
		}
	}
	if err := layer.Close(); err != nil {
		return fmt.Errorf("end the layer of image %s: %w", i.Name, err)
	}
	return nil
}

func (i Image) writeFolders(layer *tar.Writer) error {
	modes := map[string]int64{"etc": 0o755, "tmp": 0o1777}
	for _, file := range i.Files {
		for folder := path.Dir(inside(file.Path)); folder != "."; folder = path.Dir(folder) {
			if _, present := modes[folder]; !present {
				modes[folder] = 0o755
			}
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(modes)) {
		h := header(folder+"/", modes[folder], 0)
		h.Typeflag = tar.TypeDir
		if err := layer.WriteHeader(h); err != nil {
			return fmt.Errorf("write folder %s: %w", folder, err)
		}
	}
	return nil
}

func writeFile(layer *tar.Writer, file File) error {
	source, err := os.Open(file.Source)
	if err != nil {
		return fmt.Errorf("add %s to the image: %w", file.Path, err)
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return fmt.Errorf("add %s to the image: %w", file.Path, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("add %s to the image: %s is not a regular file", file.Path, file.Source)
	}
	mode := int64(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	if err := layer.WriteHeader(header(inside(file.Path), mode, info.Size())); err != nil {
		return fmt.Errorf("add %s to the image: %w", file.Path, err)
	}
	if _, err := io.Copy(layer, source); err != nil {
		return fmt.Errorf("add %s to the image: %w", file.Path, err)
	}
	return nil
}

func writeEntry(archive *tar.Writer, name string, mode int64, data []byte) error {
	if err := archive.WriteHeader(header(name, mode, int64(len(data)))); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := archive.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// header leaves out everything that varies between machines and runs.
func header(name string, mode, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
}

func inside(absolute string) string { return strings.TrimPrefix(path.Clean(absolute), "/") }

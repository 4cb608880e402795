package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/weft-mesh/weft/e2e/cluster/internal/image"
	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
)

// repeated collects the values of a flag that may occur many times.
type repeated []string

func (r *repeated) String() string { return strings.Join(*r, ",") }

func (r *repeated) Set(value string) error {
	*r = append(*r, value)
	return nil
}

func makeImage(_ context.Context, _ layout.Layout, args []string) error {
	var binaries, labels, entrypoint repeated
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	name := flags.String("name", "", "full name and tag of the image")
	user := flags.String("user", "65532:65532", "numeric user, and group after a colon, that runs it")
	target := flags.String("o", "", "file to write")
	flags.Var(&binaries, "binary", "a file, as PATH or PATH=/path/in/image (default /NAME); may be repeated")
	flags.Var(&entrypoint, "entrypoint", "a word of the entrypoint (default the first binary); may be repeated")
	flags.Var(&labels, "label", "a label, as NAME=VALUE; may be repeated")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *name == "" || *target == "" || len(binaries) == 0 {
		return errors.New("image: --name, --binary and -o are required")
	}
	i := image.Image{Name: *name, User: *user, Entrypoint: entrypoint, Labels: map[string]string{}}
	for _, binary := range binaries {
		i.Files = append(i.Files, parseBinary(binary))
	}
	if len(entrypoint) == 0 {
		i.Entrypoint = []string{i.Files[0].Path}
	}
	for _, label := range labels {
		key, value, found := strings.Cut(label, "=")
		if !found {
			return fmt.Errorf("image: --label %q is not NAME=VALUE", label)
		}
		i.Labels[key] = value
	}
	return writeImage(i, *target)
}

func parseBinary(text string) image.File {
	source, inImage, found := strings.Cut(text, "=")
	if !found {
		inImage = "/" + path.Base(source)
	}
	return image.File{Source: source, Path: inImage}
}

// writeImage leaves no half-written archive behind.
func writeImage(i image.Image, target string) error {
	file, err := os.Create(target + ".new")
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	defer os.Remove(target + ".new")
	if err := errors.Join(i.Write(file), file.Close()); err != nil {
		return err
	}
	return os.Rename(target+".new", target)
}

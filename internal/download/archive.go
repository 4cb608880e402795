package download

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Limits of one archive. A bomb is left off where it bursts.
const (
	maxArchive  = 64 << 20 // bytes as it is served
	maxUnpacked = 256 << 20
	maxFiles    = 10_000
)

// A search looks for what has a digest, in the files of archives and in the layers of artifacts, and notes what has others.
type search struct {
	digest string // of SHA-256, in hexadecimal
	most   int64  // bytes of what it may find
	left   int    // bytes that archives may have yet, unpacked
	seen   []string
}

// maxSeen is how many others a search tells of.
const maxSeen = 5

// unpack looks into an archive of tar, compressed by gzip or not.
func (s *search) unpack(r io.Reader) (text string, found bool, err error) {
	begins := make([]byte, 2)
	if _, err := io.ReadFull(r, begins); err != nil {
		return "", false, torn(err)
	}
	r = io.MultiReader(bytes.NewReader(begins), r)
	if bytes.Equal(begins, []byte{0x1f, 0x8b}) {
		zipped, err := gzip.NewReader(r)
		if err != nil {
			return "", false, torn(err)
		}
		defer zipped.Close()
		r = zipped
	}
	return s.files(tar.NewReader(&bounded{r, &s.left}))
}

func (s *search) files(from *tar.Reader) (text string, found bool, err error) {
	for range maxFiles {
		file, err := from.Next()
		switch {
		case errors.Is(err, io.EOF):
			return "", false, nil
		case err != nil:
			return "", false, torn(err)
		case file.Typeflag != tar.TypeReg || file.Size > s.most:
			continue
		}
		body, err := io.ReadAll(from)
		if err != nil {
			return "", false, torn(err)
		}
		sum := fmt.Sprintf("%x", sha256.Sum256(body))
		if sum == s.digest {
			return string(body), true, nil
		}
		s.note(path.Clean(file.Name), sum)
	}
	return "", false, Mismatch{fmt.Sprintf("has more than %d files", maxFiles)}
}

// bounded reads no more bytes than are left.
type bounded struct {
	io.Reader
	left *int
}

func (b *bounded) Read(into []byte) (int, error) {
	if *b.left == 0 {
		return 0, Mismatch{fmt.Sprintf("has more than %d bytes, unpacked", maxUnpacked)}
	}
	n, err := b.Reader.Read(into[:min(len(into), *b.left)])
	*b.left -= n
	return n, err
}

// torn says why an archive cannot be read on: it is none, or the rest did not come.
func torn(err error) error {
	var already Mismatch
	if errors.As(err, &already) {
		return already
	}
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, tar.ErrHeader) {
		return Mismatch{"is no archive that can be read: " + err.Error()}
	}
	return fmt.Errorf("cannot be fetched: %w", reason(err))
}

func (s *search) note(name, digest string) {
	if len(s.seen) < maxSeen {
		s.seen = append(s.seen, fmt.Sprintf("%.100q of %s", name, digest))
	}
}

// nothing is what is said where nothing was found.
func (s *search) nothing() error {
	has := "none that it could be"
	if len(s.seen) > 0 {
		has = strings.Join(s.seen, ", ")
	}
	return Mismatch{fmt.Sprintf("has nothing of the SHA-256 digest in sha256, but %s: set that of the right module, or mend the URL", has)}
}

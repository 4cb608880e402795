// Package journal writes decisions to a file, or to standard output, one line of JSON for each.
//
//	Take, which never waits → a queue → one goroutine → lines, chained and signed if that is asked for
//
// What finds no room in the queue is counted, here and in the journal itself.
package journal

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"sync/atomic"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
)

const (
	// queued is how many decisions may wait to be written.
	queued = 4_096
	// maxTexts is how many policies a file has before it tells of them anew.
	maxTexts = 10_000
	// kept is how many files there are beside the one that is written.
	kept = 4
)

// Options say what is written, and where.
type Options struct {
	File     string             // "-": standard output
	Percent  int                // of what was let in; all of what was, or would have been, denied is written
	Chain    bool               // each line has the hash of the one before it
	Key      ed25519.PrivateKey // by which lines of a Chain are signed; nil: they are not
	MaxBytes int64              // of a file; then it is put aside, and the oldest is deleted
	// Text is what a policy's digest stands for; nil: it is not known.
	Text func(digest string) *v1alpha1.Authorization
}

// Journal is open. It is safe for concurrent use.
type Journal struct {
	Options
	queue   chan authz.Record
	dropped atomic.Uint64
	told    uint64 // of dropped, in the journal
	written atomic.Uint64

	to      io.WriteCloser
	out     *bufio.Writer
	size    int64
	chain   authz.Chain
	texts   map[string]bool
	touched bool // since it was flushed
}

// Open begins a Journal, or continues the one that is in the file.
func Open(o Options) (*Journal, error) {
	j := &Journal{Options: o, queue: make(chan authz.Record, queued), texts: map[string]bool{}}
	j.chain.Key = o.Key
	if o.File == "-" {
		j.use(os.Stdout, 0)
		return j, nil
	}
	if o.Chain {
		if err := j.proceed(); err != nil {
			return nil, fmt.Errorf("continue the decision log %s: %w: move it away to begin another", o.File, err)
		}
	}
	return j, j.open()
}

func (j *Journal) use(to io.WriteCloser, size int64) {
	j.to, j.out, j.size, j.texts = to, bufio.NewWriterSize(to, 64<<10), size, map[string]bool{}
}

func (j *Journal) open() error {
	f, err := os.OpenFile(j.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the decision log: %w", err)
	}
	is, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open the decision log: %w", errors.Join(err, f.Close()))
	}
	j.use(f, is.Size())
	return nil
}

// proceed has the chain follow the last line that is there. One that was half written is none.
func (j *Journal) proceed() error {
	for _, name := range []string{j.File, aside(j.File, 1)} {
		last, whole, err := lastLine(name)
		if err != nil {
			return err
		}
		if name == j.File {
			if err := os.Truncate(name, whole); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		if last == nil {
			continue
		}
		_, link, chained, err := authz.ParseLine(last)
		if err != nil || !chained {
			return errors.Join(errors.New("its last line is not chained"), err)
		}
		j.chain.Continue(link)
		return nil
	}
	return nil
}

// maxTail is how much of a file is looked through for its last line.
const maxTail = 8 << 20

// lastLine is that of a file, and how long the file is with it; nil: it has none.
func lastLine(name string) (line []byte, whole int64, err error) {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	} else if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	is, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	from := max(0, is.Size()-maxTail)
	tail, err := io.ReadAll(io.NewSectionReader(f, from, is.Size()-from))
	if err != nil {
		return nil, 0, err
	}
	end := lastIndex(tail, len(tail))
	if end < 0 {
		if from > 0 {
			return nil, 0, errors.New("its last line is too long")
		}
		return nil, 0, nil
	}
	return tail[lastIndex(tail, end)+1 : end], from + int64(end) + 1, nil
}

func lastIndex(text []byte, before int) int {
	for i := before - 1; i >= 0; i-- {
		if text[i] == '\n' {
			return i
		}
	}
	return -1
}

// aside is the name of a file that was put aside, of so many.
func aside(name string, n int) string { return fmt.Sprintf("%s.%d", name, n) }

// Take has a decision written, unless it is none of those that are, or too many wait.
func (j *Journal) Take(r authz.Record) {
	if r.Verdict == authz.Allowed && (r.Shadow == nil || r.Shadow.Result == authz.Allowed) && !j.sampled(r.ID) {
		return
	}
	select {
	case j.queue <- r:
	default:
		j.dropped.Add(1)
	}
}

// sampled goes by the request's ID, so that all that was decided on a request is written or nothing is.
func (j *Journal) sampled(id string) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // no hash fails
	return int(h.Sum32()%100) < j.Percent
}

// Dropped is how many decisions found no room, and Written how many are in the journal.
func (j *Journal) Dropped() uint64 { return j.dropped.Load() }

// Written is how many lines were.
func (j *Journal) Written() uint64 { return j.written.Load() }

// Run writes until ctx ends, and what was taken before.
func (j *Journal) Run(ctx context.Context) error {
	for {
		select {
		case r := <-j.queue:
			if err := j.write(r); err != nil {
				return errors.Join(err, j.close())
			}
			continue
		default:
		}
		if err := j.flush(); err != nil {
			return errors.Join(err, j.close())
		}
		select {
		case r := <-j.queue:
			if err := j.write(r); err != nil {
				return errors.Join(err, j.close())
			}
		case <-ctx.Done():
			if len(j.queue) == 0 {
				return j.close()
			}
		}
	}
}

func (j *Journal) flush() error {
	if !j.touched {
		return nil
	}
	j.touched = false
	if err := j.out.Flush(); err != nil {
		return fmt.Errorf("write the decision log: %w", err)
	}
	return nil
}

func (j *Journal) close() error {
	err := j.flush()
	if j.File == "-" {
		return err
	}
	return errors.Join(err, j.to.Close())
}

// write has what a decision needs before it: how many were dropped, and what its policies say.
func (j *Journal) write(r authz.Record) error {
	if err := j.turn(); err != nil {
		return err
	}
	if dropped := j.dropped.Load(); dropped > j.told {
		if err := j.line(authz.Entry{Dropped: dropped - j.told}); err != nil {
			return err
		}
		j.told = dropped
	}
	for _, digest := range r.Law.Digests() {
		if j.texts[digest] {
			continue
		}
		if says := j.Text(digest); says != nil {
			if len(j.texts) == maxTexts {
				clear(j.texts)
			}
			j.texts[digest] = true
			if err := j.line(authz.Entry{Policy: &authz.Text{Digest: digest, Authorization: says}}); err != nil {
				return err
			}
		}
	}
	return j.line(authz.Entry{Decision: &r})
}

func (j *Journal) line(e authz.Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the decision log: %w", err)
	}
	if j.Chain {
		if line, err = j.chain.Next(line); err != nil {
			return err
		}
	}
	n, err := j.out.Write(append(line, '\n'))
	if err != nil {
		return fmt.Errorf("write the decision log: %w", err)
	}
	j.size, j.touched = j.size+int64(n), true
	j.written.Add(1)
	return nil
}

// turn puts a file aside that is full. Its chain goes on in the next.
func (j *Journal) turn() error {
	if j.File == "-" || j.MaxBytes == 0 || j.size < j.MaxBytes {
		return nil
	}
	if err := errors.Join(j.flush(), j.to.Close()); err != nil {
		return fmt.Errorf("put the decision log aside: %w", err)
	}
	for n := kept; n > 0; n-- {
		from := aside(j.File, n-1)
		if n == 1 {
			from = j.File
		}
		if err := os.Rename(from, aside(j.File, n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("put the decision log aside: %w", err)
		}
	}
	return j.open()
}

package authz

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// Entry is one line of a decision log: one of these.
type Entry struct {
	Decision *Record `json:"decision,omitempty"`
	Policy   *Text   `json:"policy,omitempty"`
	// Dropped is how many decisions before it could not be written.
	Dropped uint64 `json:"dropped,omitempty"`
}

// Text is what a digest stands for. It comes before the first decision by it.
type Text struct {
	Digest        string                  `json:"digest"`
	Authorization *v1alpha1.Authorization `json:"authorization"`
}

// Link is a line of a log that is chained: its hash is over its number, the hash of the line before it, and the bytes
// of its entry.
type Link struct {
	Seq       uint64          `json:"seq"` // from 1
	Before    string          `json:"before"`
	Entry     json.RawMessage `json:"entry"`
	Hash      string          `json:"hash"`
	Signature string          `json:"signature,omitempty"` // of the hash, by ed25519
}

// Chain makes Links.
type Chain struct {
	Key  ed25519.PrivateKey // nil: they are not signed
	seq  uint64
	last string
}

// Beginning is what is before the first line.
const Beginning = "0000000000000000000000000000000000000000000000000000000000000000"

// Continue has the next Link follow one that is there.
func (c *Chain) Continue(l Link) { c.seq, c.last = l.Seq, l.Hash }

// Next is the line of an entry, without its end.
func (c *Chain) Next(entry json.RawMessage) ([]byte, error) {
	if c.last == "" {
		c.last = Beginning
	}
	l := Link{Seq: c.seq + 1, Before: c.last, Entry: entry}
	sum := l.sum()
	l.Hash = hex.EncodeToString(sum)
	if c.Key != nil {
		l.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(c.Key, sum))
	}
	line, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("write a line: %w", err)
	}
	c.seq, c.last = l.Seq, l.Hash
	return line, nil
}

func (l Link) sum() []byte {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d\n%s\n", l.Seq, l.Before) // no hash fails
	_, _ = h.Write(l.Entry)
	return h.Sum(nil)
}

// maxLine is how long a line of a log may be.
const maxLine = 4 << 20

// Each reads lines, and tells each by its number. It ends at the first of which what it calls complains.
func Each(from io.Reader, do func(n int, line []byte) error) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	n := 0
	for lines.Scan() {
		n++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		if err := do(n, lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	return nil
}

// ParseLine reads one, chained or not.
func ParseLine(line []byte) (e Entry, l Link, chained bool, err error) {
	if err := strict(line, &l); err == nil && len(l.Entry) > 0 {
		err = strict(l.Entry, &e)
		return e, l, true, err
	}
	err = strict(line, &e)
	return e, Link{}, false, err
}

// strict takes no field that is not known: it would not be seen by who reads the line.
func strict(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("it is no line of a decision log: %w", err)
	}
	if d.More() {
		return errors.New("it is no line of a decision log: something follows it")
	}
	return nil
}

// Verified is what was found of a log that is whole.
type Verified struct {
	First, Last uint64 // lines, by their numbers
	Hash        string // of the last
	Signed      bool   // all are, by the key
	Dropped     uint64 // decisions that could not be written
}

// Verifier holds each line of a log against the one before it. Lines of several files follow one another.
type Verifier struct {
	Key ed25519.PublicKey // nil: signatures are not looked at
	Verified
}

// Take verifies one line.
func (v *Verifier) Take(line []byte) error {
	entry, l, chained, err := ParseLine(line)
	switch {
	case err != nil:
		return err
	case !chained:
		return errors.New("it is not chained: have weft authz write the log with --log-chain")
	}
	if again, err := json.Marshal(l); err != nil || !bytes.Equal(again, bytes.TrimSpace(line)) {
		return errors.New("it was edited: it is not written as weft authz writes")
	}
	switch {
	case v.Last > 0 && l.Seq != v.Last+1:
		return fmt.Errorf("it has number %d after %d: lines are missing, or in another order", l.Seq, v.Last)
	case v.Last > 0 && l.Before != v.Hash, v.Last == 0 && l.Seq == 1 && l.Before != Beginning:
		return errors.New("it does not follow the line before it: one of both was edited")
	case l.Hash != hex.EncodeToString(l.sum()):
		return errors.New("it was edited: its hash is another one")
	}
	if err := v.signed(l); err != nil {
		return err
	}
	if v.Last == 0 {
		v.First = l.Seq
	}
	v.Last, v.Hash, v.Signed = l.Seq, l.Hash, v.Key != nil
	v.Dropped += entry.Dropped
	return nil
}

func (v *Verifier) signed(l Link) error {
	if v.Key == nil {
		return nil
	}
	signature, err := base64.StdEncoding.DecodeString(l.Signature)
	switch {
	case l.Signature == "":
		return errors.New("it is not signed")
	case err != nil || !ed25519.Verify(v.Key, l.sum(), signature):
		return errors.New("its signature is not of that key")
	}
	return nil
}

// String tells what was found.
func (v Verified) String() string {
	if v.Last == 0 {
		return "no line"
	}
	out := []string{fmt.Sprintf("lines %d to %d follow one another, the last with hash %s", v.First, v.Last, v.Hash)}
	if v.Signed {
		out = append(out, "all are signed by that key")
	}
	if v.Dropped > 0 {
		out = append(out, fmt.Sprintf("%d decisions between them were not written, for want of room", v.Dropped))
	}
	return strings.Join(out, "; ")
}

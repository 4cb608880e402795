// Command tally reads `go test -json`, shows what a person wants to see of it as it happens, and counts.
//
//	go test -json ./... | tally -part unit -to bin/tally      show, and add the counts to a file
//	tally -total -to bin/tally                                print "N passed, N failed" over all parts
//
// It fails when a test failed, or when nothing was tested.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
)

func main() {
	part := flag.String("part", "", "name of the part that is tested")
	to := flag.String("to", "", "file to which the counts are added")
	total := flag.Bool("total", false, "print the sum of the file")
	flag.Parse()
	var err error
	if *total {
		err = sum(*to)
	} else {
		err = show(*part, *to, os.Stdin)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
}

// event is what `go test -json` writes for each line and each outcome.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

// tally keeps the counts, and what each test wrote until its outcome is known.
type tally struct {
	passed, failed, skipped int
	wrote                   map[string]*strings.Builder
	out                     io.Writer
}

// live marks lines that tests print to tell what they are doing.
var live = regexp.MustCompile(`^\d\d:\d\d:\d\d  `)

func show(part, to string, in io.Reader) error {
	began := time.Now()
	t := &tally{wrote: map[string]*strings.Builder{}, out: os.Stdout}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(t.out, lines.Text()) // what the go command itself has to say
			continue
		}
		t.take(e)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	fmt.Printf("%s: %d passed, %d failed, %d skipped in %s\n", part, t.passed, t.failed, t.skipped, time.Since(began).Round(time.Second))
	if err := record(to, part, t.passed, t.failed); err != nil {
		return err
	}
	switch {
	case t.failed > 0:
		return fmt.Errorf("%s: %d failed", part, t.failed)
	case t.passed == 0:
		return fmt.Errorf("%s: nothing was tested", part)
	}
	return nil
}

func (t *tally) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		if live.MatchString(e.Output) {
			fmt.Fprint(t.out, e.Output)
		}
		if t.wrote[key] == nil {
			t.wrote[key] = new(strings.Builder)
		}
		t.wrote[key].WriteString(e.Output)
	case "pass", "fail", "skip":
		t.end(e, t.wrote[key])
		delete(t.wrote, key)
	}
}

func (t *tally) end(e event, wrote *strings.Builder) {
	switch {
	case e.Action == "fail" && wrote != nil:
		fmt.Fprint(t.out, wrote)
	case strings.HasSuffix(e.Package, "/stories") && e.Test != "" && wrote != nil:
		fmt.Fprint(t.out, wrote) // the tables
	}
	if e.Test == "" {
		if e.Action == "fail" {
			t.failed++ // it may not have compiled, or not have come to its end
		}
		fmt.Fprintf(t.out, "%-4s  %s  %.1fs\n", e.Action, e.Package, e.Elapsed)
		return
	}
	switch e.Action {
	case "pass":
		t.passed++
	case "fail":
		t.failed++
	case "skip":
		t.skipped++
	}
}

func record(to, part string, passed, failed int) error {
	if to == "" {
		return nil
	}
	file, err := os.OpenFile(to, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, "%d %d %s\n", passed, failed, part)
	return errors.Join(err, file.Close())
}

func sum(to string) error {
	file, err := os.Open(to)
	if err != nil {
		return err
	}
	defer file.Close()
	passed, failed := 0, 0
	for {
		var p, f int
		var part string
		_, err := fmt.Fscanf(file, "%d %d %s\n", &p, &f, &part)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", to, err)
		}
		passed, failed = passed+p, failed+f
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		return errors.New("not all passed")
	}
	return nil
}

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestCounts(t *testing.T) {
	for _, c := range []struct {
		name, events, wrong string
	}{
		{"all pass", `{"Action":"pass","Package":"p","Test":"A"}` + "\n" + `{"Action":"pass","Package":"p"}`, ""},
		{"one fails", `{"Action":"pass","Package":"p","Test":"A"}` + "\n" + `{"Action":"fail","Package":"p","Test":"B"}`, "1 failed"},
		{"it does not compile", `{"Action":"fail","Package":"p"}`, "1 failed"},
		{"nothing runs", `{"Action":"skip","Package":"p"}`, "nothing was tested"},
	} {
		file := filepath.Join(t.TempDir(), "tally")
		err := show(c.name, file, strings.NewReader(c.events))
		if (err == nil) != (c.wrong == "") || (err != nil && !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.wrong)
		}
	}
}

func TestSumReadsPartsWithNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tally")
	for _, failed := range []int{0, 0} {
		if err := record(file, "unit", 3, failed); err != nil {
			t.Fatal(err)
		}
	}
	if err := sum(file); err != nil {
		t.Error(err)
	}
	if err := record(file, "stories", 1, 2); err != nil {
		t.Fatal(err)
	}
	if err := sum(file); err == nil {
		t.Error("two failures add up to none")
	}
}

package process_test

import (
	"os"
	"runtime/debug"
	"testing"

	"github.com/weft-mesh/weft/bench/process"
)

func TestOf(t *testing.T) {
	before, err := process.Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<20)
	for i := range block {
		block[i] = byte(i)
	}
	after, err := process.Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if grown := after.ResidentMB - before.ResidentMB; grown < 32 {
		t.Errorf("64 MB more are in use, but %.0f MB are resident besides", grown)
	}
	if after.CPUSeconds <= before.CPUSeconds || after.PeakMB < after.ResidentMB-1 || block[1] != 1 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	debug.FreeOSMemory() // block is read no more
	if err := process.ForgetPeak(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if forgot, err := process.Of(os.Getpid()); err != nil || forgot.PeakMB > after.PeakMB-32 {
		t.Errorf("the peak was %.0f MB, and is %.0f once it was to be forgotten: %v", after.PeakMB, forgot.PeakMB, err)
	}
	if _, err := process.Of(1 << 30); err == nil {
		t.Error("a process that is not there has a usage")
	}
}

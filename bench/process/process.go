// Package process reads what processes of this machine use.
package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Usage is what a process has used, and uses.
type Usage struct {
	CPUSeconds float64 // user and system time of all its threads, since it started
	ResidentMB float64 // resident memory now, in units of 1,048,576 bytes
	PeakMB     float64 // the most that it ever was
}

// Of reads the usage of a process.
func Of(pid int) (Usage, error) {
	folder := fmt.Sprintf("/proc/%d", pid)
	threads, err := filepath.Glob(folder + "/task/*/schedstat")
	if err != nil || len(threads) == 0 {
		return Usage{}, fmt.Errorf("read the CPU time of process %d: it is not there", pid)
	}
	var u Usage
	for _, thread := range threads {
		if line, err := os.ReadFile(thread); err == nil { // a thread may have ended
			nanoseconds, _, _ := strings.Cut(string(line), " ")
			u.CPUSeconds += number(nanoseconds) / 1e9
		}
	}
	status, err := os.ReadFile(folder + "/status")
	if err != nil {
		return Usage{}, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		switch f := strings.Fields(line); {
		case len(f) < 2:
		case f[0] == "VmRSS:":
			u.ResidentMB = number(f[1]) / 1024
		case f[0] == "VmHWM:":
			u.PeakMB = number(f[1]) / 1024
		}
	}
	return u, nil
}

func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64) // the kernel writes nothing else
	return n
}

// InPod finds the process of that command name in a pod that runs on this machine.
func InPod(uid, command string) (pid int, err error) {
	all, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return 0, err
	}
	for _, file := range all {
		groups, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(groups), uid) && !strings.Contains(string(groups), strings.ReplaceAll(uid, "-", "_")) {
			continue
		}
		folder := filepath.Dir(file)
		name, err := os.ReadFile(folder + "/comm")
		if err == nil && strings.TrimSpace(string(name)) == command {
			return strconv.Atoi(filepath.Base(folder))
		}
	}
	return 0, fmt.Errorf("no process %s of pod %s runs on this machine", command, uid)
}

// ForgetPeak has PeakMB of a process count from now on.
func ForgetPeak(pid int) error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		return fmt.Errorf("forget the peak of process %d: %w", pid, err)
	}
	return nil
}

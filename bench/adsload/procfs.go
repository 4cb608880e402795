package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

const hz = 100.0 // USER_HZ on Linux

type cpuSample struct {
	at            time.Time
	srv, cli, all float64 // seconds
}

// procCPU is the CPU time of a process in seconds: the nanosecond run time of
// its threads, or the 10 ms clock of /proc/PID/stat where schedstat is missing.
func procCPU(pid int) float64 {
	if pid <= 0 {
		return 0
	}
	dir := "/proc/" + strconv.Itoa(pid)
	if ts, err := os.ReadDir(dir + "/task"); err == nil {
		var ns float64
		for _, t := range ts {
			b, err := os.ReadFile(dir + "/task/" + t.Name() + "/schedstat")
			if err != nil {
				continue
			}
			x, _, _ := strings.Cut(string(b), " ")
			v, _ := strconv.ParseFloat(x, 64)
			ns += v
		}
		if ns > 0 {
			return ns / 1e9
		}
	}
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return 0
	}
	s := string(b)
	f := strings.Fields(s[strings.LastIndex(s, ")")+1:])
	u, _ := strconv.ParseFloat(f[11], 64)
	k, _ := strconv.ParseFloat(f[12], 64)
	return (u + k) / hz
}

// busyCPU is all non-idle CPU time of the machine, in seconds.
func busyCPU() float64 {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	t := 0.0
	for i, x := range f[1:] {
		if i == 3 || i == 4 || i >= 8 { // idle, iowait, guest (already in user)
			continue
		}
		v, _ := strconv.ParseFloat(x, 64)
		t += v
	}
	return t / hz
}

func sample(pid int) cpuSample {
	return cpuSample{time.Now(), procCPU(pid), procCPU(os.Getpid()), busyCPU()}
}

// diff returns server CPU s, client CPU s, and the cores used by everything else.
func (a cpuSample) diff(b cpuSample) (srv, cli, other float64) {
	srv, cli = b.srv-a.srv, b.cli-a.cli
	other = (b.all - a.all - srv - cli) / b.at.Sub(a.at).Seconds()
	if other < 0 {
		other = 0
	}
	return srv, cli, other
}

// rssMB is the resident memory of a process.
func rssMB(pid int) float64 {
	body, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(body)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb / 1024
		}
	}
	return 0
}

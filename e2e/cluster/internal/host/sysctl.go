package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// required are the kernel settings that pods need. The bridge ones are absent when
// the kernel has no bridge filter; they send the answer of a pod on the same bridge
// back through connection tracking, which Services rely on. Pods of one user share
// its inotify instances, of which each Envoy takes several: it aborts at its start
// when the kernel's default of 128 is used up.
var required = map[string]string{
	"net/ipv4/ip_forward":                 "1",
	"net/ipv6/conf/all/forwarding":        "1",
	"net/bridge/bridge-nf-call-iptables":  "1",
	"net/bridge/bridge-nf-call-ip6tables": "1",
	"fs/inotify/max_user_instances":       "8192",
}

// observed are settings that the kubelet and the CNI plugins change by themselves.
var observed = []string{
	"kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "vm/panic_on_oom",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// SetSysctls sets what the cluster needs and records the former values.
func SetSysctls(record string, write func(string, []byte) error) error {
	if err := recordSysctls(record, write); err != nil {
		return err
	}
	for name, value := range required {
		if err := writeSysctl(name, value); err != nil {
			return err
		}
	}
	return nil
}

// recordSysctls keeps an existing record: after a killed run the current values
// may be the cluster's.
func recordSysctls(record string, write func(string, []byte) error) error {
	if _, err := os.Stat(record); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	former, err := json.MarshalIndent(readSysctls(), "", "  ")
	if err != nil {
		return fmt.Errorf("encode the sysctls: %w", err)
	}
	return write(record, former)
}

// RestoreSysctls puts the recorded values back.
func RestoreSysctls(record string) error {
	data, err := os.ReadFile(record)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the recorded sysctls: %w", err)
	}
	var former map[string]string
	if err := json.Unmarshal(data, &former); err != nil {
		return fmt.Errorf("decode the sysctls in %s: %w", record, err)
	}
	var errs []error
	for name, value := range former {
		errs = append(errs, writeSysctl(name, value))
	}
	return errors.Join(errs...)
}

func readSysctls() map[string]string {
	values := map[string]string{}
	read := func(name string) {
		if data, err := os.ReadFile(filepath.Join("/proc/sys", name)); err == nil {
			values[name] = strings.TrimSpace(string(data))
		}
	}
	for name := range required {
		read(name)
	}
	for _, name := range observed {
		read(name)
	}
	return values
}

// writeSysctl leaves a setting alone that the kernel does not have.
func writeSysctl(name, value string) error {
	path := filepath.Join("/proc/sys", name)
	current, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && strings.TrimSpace(string(current)) == value) {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set sysctl %s to %s: %w", name, value, err)
	}
	return nil
}

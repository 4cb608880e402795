package stage

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/bench/process"
)

// Capture is everything that passes a pod's interface while it runs, by tcpdump.
type Capture struct {
	scene   *Scene
	command *exec.Cmd
	file    string
}

// Capture starts to look at the interface of a pod in which a program of that name runs. The pod
// must run on this machine.
func (s *Scene) Capture(pod corev1.Pod, program string) *Capture {
	s.t.Helper()
	pid, err := process.InPod(string(pod.UID), program)
	must(s.t, err)
	c := &Capture{scene: s, file: filepath.Join(s.t.TempDir(), pod.Name+".pcap")}
	c.command = exec.Command("nsenter", "--net", "--target", strconv.Itoa(pid), "--",
		"tcpdump", "--interface", "eth0", "--snapshot-length", "0", "--immediate-mode", "--packet-buffered", "-Z", "root", "-w", c.file, "tcp")
	words, err := c.command.StderrPipe()
	must(s.t, err)
	must(s.t, c.command.Start())
	s.t.Cleanup(c.end)
	lines := bufio.NewScanner(words)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "listening on") {
			go func() {
				for lines.Scan() { // it must not wait for a reader
				}
			}()
			return c
		}
	}
	s.t.Fatalf("tcpdump does not listen on the interface of pod %s", pod.Name)
	return nil
}

func (c *Capture) end() {
	if c.command.ProcessState == nil {
		_ = c.command.Process.Signal(os.Interrupt) // it may have ended
		_ = c.command.Wait()
	}
}

// Bytes are the packets so far.
func (c *Capture) Bytes() []byte {
	c.scene.t.Helper()
	all, err := os.ReadFile(c.file)
	must(c.scene.t, err)
	return all
}

// Count is how often a word has passed so far.
func (c *Capture) Count(word string) int {
	c.scene.t.Helper()
	return bytes.Count(c.Bytes(), []byte(word))
}

// Sees waits until a word has passed.
func (c *Capture) Sees(word string) {
	c.scene.t.Helper()
	c.scene.Until(10*time.Second, fmt.Sprintf("tcpdump sees %q", word), func(context.Context) error {
		if c.Count(word) == 0 {
			return fmt.Errorf("not in %d bytes", len(c.Bytes()))
		}
		return nil
	})
}

package stage

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
)

// Exec runs a command in a container, gives it input and returns what it prints.
func (s *Stage) Exec(ctx context.Context, pod corev1.Pod, container string, input []byte, command ...string) ([]byte, error) {
	request := s.Clients.CoreV1().RESTClient().Post().Resource("pods").SubResource("exec").
		Namespace(pod.Namespace).Name(pod.Name).
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdin: input != nil, Stdout: true, Stderr: true},
			clientgoscheme.ParameterCodec)
	execution, err := remotecommand.NewSPDYExecutor(s.Config, "POST", request.URL())
	if err != nil {
		return nil, err
	}
	var out, complaint bytes.Buffer
	streams := remotecommand.StreamOptions{Stdout: &out, Stderr: &complaint}
	if input != nil {
		streams.Stdin = bytes.NewReader(input)
	}
	if err := execution.StreamWithContext(ctx, streams); err != nil {
		return out.Bytes(), fmt.Errorf("%s in pod %s/%s: %w: %s", strings.Join(command, " "), pod.Namespace, pod.Name, err, complaint.String())
	}
	return out.Bytes(), nil
}

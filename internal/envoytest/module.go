package envoytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

var module = sync.OnceValues(build)

// Module is a module of Proxy-Wasm, made of testdata/module by Go alone.
func Module(t testing.TB) []byte {
	t.Helper()
	text, err := module()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func build() ([]byte, error) {
	_, here, _, _ := runtime.Caller(0)
	folder, err := os.MkdirTemp("", "module-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	out := filepath.Join(folder, "module.wasm")
	command := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, ".")
	command.Dir = filepath.Join(filepath.Dir(here), "testdata", "module")
	command.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}
